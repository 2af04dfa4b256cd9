//! A registry of our own on a free loopback port, by plain HTTP or by HTTPS, gone when dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::Tools;

/// How long the registry may take to answer.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long one question of the readiness test may take.
const ASK_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
/// The address under which QEMU's user network shows the host's loopback to a guest.
pub const HOST_IN_GUEST: &str = "10.0.2.2";

/// What it is asked by.
#[derive(Debug, Clone, Copy)]
enum Scheme<'a> {
    Http,
    /// The certificate that it presents, and its key: files of PEM.
    Https(&'a Path, &'a Path),
}

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    /// Starts one that keeps its content in `storage`, which may hold that of an earlier run.
    pub fn start(tools: &Tools, storage: &Path) -> Result<Self> {
        Self::serve(tools, storage, free_port()?, Scheme::Http)
    }

    /// Starts one on a given port: that of a registry that was stopped, to bring it back.
    pub fn on_port(tools: &Tools, storage: &Path, port: u16) -> Result<Self> {
        Self::serve(tools, storage, port, Scheme::Http)
    }

    /// Starts one that is asked by HTTPS, and presents a certificate; it and its key are files of PEM.
    pub fn by_https(tools: &Tools, storage: &Path, certificate: &Path, key: &Path) -> Result<Self> {
        Self::serve(tools, storage, free_port()?, Scheme::Https(certificate, key))
    }

    fn serve(tools: &Tools, storage: &Path, port: u16, scheme: Scheme<'_>) -> Result<Self> {
        std::fs::create_dir_all(storage).with_context(|| format!("making {}", storage.display()))?;
        // Whoever listens there already would answer in place of ours.
        drop(
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .with_context(|| format!("taking port {port} on loopback"))?,
        );
        let config = storage.join("config.yml");
        std::fs::write(&config, configuration(storage, port, scheme))
            .with_context(|| format!("writing {}", config.display()))?;
        let log = std::fs::File::create(storage.join("log")).context("making the registry's log")?;
        let child = tools
            .program("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting docker-registry")?;
        let mut registry = Self { child, port };
        // By HTTPS it answers too who speaks plain HTTP to it: that this is a bad request.
        let answer = if let Scheme::Http = scheme { " 200 " } else { " 400 " };
        registry
            .wait_until_it_answers(answer)
            .with_context(|| format!("its log is {}", storage.join("log").display()))?;
        Ok(registry)
    }

    /// Returns its port on the host's loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns `host:port` as seen from the host.
    pub fn on_host(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Returns `host:port` as seen from a guest.
    pub fn in_guest(&self) -> String {
        format!("{HOST_IN_GUEST}:{}", self.port)
    }

    /// Returns the `registries.conf` fragment that lets a guest speak plain HTTP to it.
    pub fn guest_configuration(&self) -> String {
        format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", self.in_guest())
    }

    /// Returns the status line and body of a GET request, for tests that look inside.
    pub fn get(&self, path: &str, accept: &str) -> Result<(String, Vec<u8>)> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, ASK_LIMIT)?;
        stream.set_read_timeout(Some(ASK_LIMIT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n")?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let end = reply.windows(4).position(|w| w == b"\r\n\r\n").context("a reply without an end of its head")?;
        let head = String::from_utf8_lossy(&reply[..end]);
        let status = head.lines().next().unwrap_or_default().to_owned();
        Ok((status, reply.split_off(end + 4)))
    }

    fn wait_until_it_answers(&mut self, answer: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("docker-registry ended with {status}");
            }
            if self.get("/v2/", "*/*").is_ok_and(|(status, _)| status.contains(answer)) {
                return Ok(());
            }
            if start.elapsed() > START_LIMIT {
                bail!("docker-registry did not answer within {} s", START_LIMIT.as_secs());
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the host's loopback. It is free when asked for; nobody else on loopback takes it in the moment between.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn configuration(storage: &Path, port: u16, scheme: Scheme<'_>) -> String {
    let tls = match scheme {
        Scheme::Http => String::new(),
        Scheme::Https(certificate, key) => {
            format!(", tls: {{certificate: '{}', key: '{}'}}", certificate.display(), key.display())
        }
    };
    format!(
        "version: 0.1\n\
         log: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage:\n  filesystem: {{rootdirectory: '{}'}}\n  delete: {{enabled: true}}\n\
         http: {{addr: '{}:{port}'{tls}}}\n",
        storage.join("content").display(),
        Ipv4Addr::LOCALHOST
    )
}

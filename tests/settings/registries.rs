//! Registries as settings say: whom a node believes, through whom it asks, and who is asked in a registry's place.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, ensure};
use openssl::base64::encode_block;
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE};
use rocketos_tests::{Guest, HOST_IN_GUEST, Images, Progress, Registry};

use crate::certificate;

/// An image, wherever it is.
const IMAGE: &str = "settings/seen:1";
/// The host container that is made of it.
const NAME: &str = "seen";

/// A proxy on the host's loopback, which leads to nowhere else, and to whom it was asked to lead.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Listens until the test's process ends.
    fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port for a proxy")?;
        let port = listener.local_addr()?.port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let remembered = Arc::clone(&remembered);
                // Who hangs up is led nowhere.
                thread::spawn(move || drop(lead(client, &remembered)));
            }
        });
        Ok(Self { port, asked })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers one `CONNECT` (RFC 9110, section 9.3.6).
fn lead(mut client: TcpStream, asked: &Mutex<Vec<String>>) -> Result<()> {
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let first = lines.next().context("nothing was asked")??;
    // A client says nothing behind the head before it is answered.
    while !lines.next().context("a head without an end")??.is_empty() {}
    let target = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).context("not to be led")?;
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(target.to_owned());
    let port: u16 = target.rsplit_once(':').context("no port")?.1.parse()?;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Write).and(copied)
    });
    io::copy(&mut server, &mut client)?;
    Ok(client.shutdown(Shutdown::Write)?)
}

/// A registry that nobody vouches for but settings.
fn stranger(fixture: &Fixture) -> Result<(Registry, String)> {
    let presented = certificate::for_address(HOST_IN_GUEST)?;
    let folder = fixture.scratch().join("stranger");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let [certificate, key] = ["certificate", "key"].map(|name| folder.join(name));
    std::fs::write(&certificate, presented.pem()?).context("writing a certificate")?;
    std::fs::write(&key, presented.key()?).context("writing a key")?;
    let registry = Registry::by_https(&fixture.tools, &folder, &certificate, &key)?;
    Ok((registry, encode_block(&presented.pem()?)))
}

/// Neither podman nor the updater asks a registry whose certificate nothing vouches for; both do when settings do, and the updater
/// through the proxy that settings name.
pub fn believes_whom_settings_vouch_for(guest: &mut Guest, fixture: &Fixture, progress: &Progress) -> Result<()> {
    let (registry, certificate) = stranger(fixture)?;
    let images = Images::new(progress);
    let image = images.seen(&fixture.tools, "1")?;
    let (repository, tag) = IMAGE.split_once(':').context("an image without a tag")?;
    images.push(image, &registry, repository, tag)?;
    images.push(image, &fixture.registry, repository, tag)?;
    let source = format!("{}/{IMAGE}", registry.in_guest());
    let distrusts = |guest: &mut Guest, when: &str| -> Result<()> {
        let pulled = guest.run(&format!("podman pull {source} 2>&1"), UPGRADE)?;
        ensure!(
            !pulled.success() && pulled.stdout.contains("x509"),
            "{when} podman believes a stranger: {}",
            pulled.stdout
        );
        Ok(())
    };
    distrusts(guest, "before")?;
    let proxy = Proxy::start()?;
    let settings = [
        format!("pki.stranger.data={certificate}"),
        "pki.stranger.trusted=true".to_owned(),
        format!("network.https-proxy=http://{HOST_IN_GUEST}:{}", proxy.port),
    ];
    guest.check(&format!("rocketctl settings set {}", settings.join(" ")), BOOT)?;
    guest.check(&format!("podman pull --quiet {source}"), UPGRADE)?;
    ensure!(proxy.asked().is_empty(), "who is started by hand was led: {:?}", proxy.asked());
    let container = format!("host-containers.{NAME}");
    guest.check(&format!("rocketctl settings set {container}.source={source} {container}.enabled=true"), UPGRADE)?;
    let unit = format!("rocketos-host-container-{NAME}.service");
    let wait = format!(
        "for i in $(seq 120); do systemctl is-active -q {unit} && exit 0; sleep 1; done; \
         systemctl status --no-pager -l 'rocketos-host-container*'; exit 1"
    );
    guest.check(&wait, BOOT)?;
    let asked = proxy.asked();
    ensure!(!asked.is_empty() && asked.iter().all(|one| *one == registry.in_guest()), "the proxy led to {asked:?}");
    guest.check(&format!("rocketctl settings unset {container} pki.stranger network.https-proxy"), BOOT)?;
    distrusts(guest, "afterwards")
}

/// A registry that cannot be reached is asked in a mirror.
pub fn asks_a_mirror(guest: &mut Guest, fixture: &Fixture) -> Result<()> {
    let mirrors = format!("[{{registry = \"docker.io\", endpoint = [\"http://{}\"]}}]", fixture.registry.in_guest());
    guest.check(&format!("rocketctl settings set 'container-registry.mirrors={mirrors}'"), BOOT)?;
    guest.check(&format!("podman pull --quiet docker.io/{IMAGE}"), UPGRADE)?;
    guest.check("rocketctl settings unset container-registry.mirrors", BOOT).map(drop)
}

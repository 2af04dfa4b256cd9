//! The fleet's reboot lock: FleetLock, as zincati speaks it (coreos.github.io/zincati, "FleetLock protocol").
//!
//! A mark on the disk comes before the request, so that a lock which may be held is given back, whatever happens between.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client as Http, StatusCode, Url, redirect};
use rocketos_deploy::Node;
use rocketos_update::fleet_id;
use serde::Deserialize;
use serde_json::json;

use super::schedule::RebootLock;
use crate::{channel::machine_id, pull::runtime};

/// The header that every request has.
const PROTOCOL: &str = "fleet-lock-protocol";
/// What a request may take.
const WHOLE: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 << 10;

/// A node that asks.
pub struct Client<'a> {
    node: &'a Node,
    http: Http,
    base: Url,
    body: String,
}

/// What a service says that refuses.
#[derive(Debug, Deserialize)]
struct Refusal {
    kind: String,
    value: String,
}

impl<'a> Client<'a> {
    pub fn new(lock: &RebootLock, node: &'a Node) -> anyhow::Result<Self> {
        let http = Http::builder().user_agent("rocketctl").timeout(WHOLE).redirect(redirect::Policy::none()).build();
        let body = json!({ "client_params": { "id": fleet_id(&machine_id()?), "group": lock.group } }).to_string();
        Ok(Self { node, http: http.context("preparing for HTTP")?, base: lock.url.clone(), body })
    }

    /// Takes the lock; why not, where the service refuses.
    ///
    /// # Errors
    /// When the service cannot be reached, or what answers is none: then nobody said that this node may reboot.
    pub fn take(&self) -> anyhow::Result<Option<String>> {
        self.node.mark_reboot_lock(true)?;
        let (status, answer) = self.ask("v1/pre-reboot")?;
        if status == StatusCode::OK {
            return Ok(None);
        }
        match serde_json::from_slice::<Refusal>(&answer) {
            Ok(refusal) => Ok(Some(format!("{} ({})", refusal.value, refusal.kind))),
            Err(_) => bail!("{} answered {status}, which no reboot lock says", self.base),
        }
    }

    /// Gives the lock back, where it may be held.
    ///
    /// # Errors
    /// When the service does not take it; it is given back the next time.
    pub fn release(&self) -> anyhow::Result<()> {
        if !self.node.may_hold_reboot_lock()? {
            return Ok(());
        }
        let (status, _) = self.ask("v1/steady-state").context("giving the reboot lock back")?;
        if status != StatusCode::OK {
            bail!("{} did not take the reboot lock back: {status}", self.base);
        }
        Ok(self.node.mark_reboot_lock(false)?)
    }

    fn ask(&self, path: &str) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let url = format!("{}/{path}", self.base.as_str().trim_end_matches('/'));
        let asking = || format!("asking {url}");
        runtime()?.block_on(async {
            let request = self.http.post(&url).header(PROTOCOL, "true").header("content-type", "application/json");
            let mut response = request.body(self.body.clone()).send().await.with_context(asking)?;
            let (status, mut answer) = (response.status(), Vec::new());
            while let Some(piece) = response.chunk().await.with_context(asking)? {
                if answer.len() + piece.len() > ANSWER_BYTES {
                    bail!("{url} answered with more than {ANSWER_BYTES} bytes");
                }
                answer.extend_from_slice(&piece);
            }
            Ok((status, answer))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use rocketos_deploy::populate;
    use rocketos_store::Verity;

    use super::*;

    /// A service that gives these answers, one to each request, and says what it was asked.
    fn serve(answers: Vec<(&'static str, &'static str)>) -> (RebootLock, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/fleet/", listener.local_addr().unwrap()).parse().unwrap();
        let asked = move |(status, body): (&str, &str)| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&line);
            }
            let mut sent = vec![0; length];
            reader.read_exact(&mut sent).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
                .unwrap();
            format!("{head}{}", String::from_utf8(sent).unwrap())
        };
        let server = thread::spawn(move || answers.into_iter().map(asked).collect());
        (RebootLock { url, group: "workers".to_owned() }, server)
    }

    fn node(folder: &tempfile::TempDir) -> Node {
        let esp = folder.path().join("efi");
        std::fs::create_dir_all(&esp).unwrap();
        populate(folder.path(), &esp, b"MZ", Verity::Optional).unwrap()
    }

    #[test]
    fn takes_and_gives_back_as_zincati_does() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(&folder);
        let refused = r#"{"kind": "failed_lock_semaphore_full", "value": "all 1 slots are taken"}"#;
        let (lock, server) = serve(vec![("409 Conflict", refused), ("200 OK", ""), ("500 No", "no"), ("200 OK", "")]);
        let client = Client::new(&lock, &node).unwrap();
        client.release().unwrap();
        let said = client.take().unwrap().unwrap();
        assert_eq!(said, "all 1 slots are taken (failed_lock_semaphore_full)");
        assert_eq!(client.take().unwrap(), None);
        assert!(client.release().unwrap_err().to_string().contains("did not take the reboot lock back"));
        assert!(node.may_hold_reboot_lock().unwrap(), "it is given back the next time");
        client.release().unwrap();
        client.release().unwrap();
        let asked = server.join().unwrap();
        let paths: Vec<_> = asked.iter().map(|request| request.split(' ').nth(1).unwrap()).collect();
        let (take, back) = ("/fleet/v1/pre-reboot", "/fleet/v1/steady-state");
        assert_eq!(paths, [take, take, back, back]);
        for request in asked {
            assert!(request.starts_with("POST ") && request.contains("fleet-lock-protocol: true"), "{request}");
            let id = fleet_id(&machine_id().unwrap());
            let body = format!("{{\"client_params\":{{\"group\":\"workers\",\"id\":\"{id}\"}}}}");
            assert!(request.ends_with(&body), "{request}");
        }
    }

    #[test]
    fn who_says_nothing_of_the_kind_has_not_agreed() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(&folder);
        let (lock, server) = serve(vec![("302 Found", ""), ("404 Not Found", "<html>")]);
        let client = Client::new(&lock, &node).unwrap();
        for status in ["302", "404"] {
            let error = client.take().unwrap_err().to_string();
            assert!(error.contains(status) && error.contains("no reboot lock says"), "{error}");
        }
        server.join().unwrap();
        assert!(format!("{:#}", client.take().unwrap_err()).contains("asking http://"));
        assert!(node.may_hold_reboot_lock().unwrap());
    }
}

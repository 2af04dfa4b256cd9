//! Which channels `rocketctl` believes, wherever their metadata lies.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

// The registry that rocketos-oci is tested with, and the publisher that rocketos-trust is.
#[path = "../../crates/oci/tests/support/mod.rs"]
mod support;
#[path = "../../crates/trust/tests/support/tuf.rs"]
mod tuf;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use serde_json::{Value, json};
use support::{reader, reference, registry::Registry};
use tempfile::TempDir;
use tuf::{Repository, Served};

const TAG: &str = "rocketos-releases";
const KIND: &str = "application/vnd.rocketos.release-metadata";

/// A channel with one release.
fn document(channel: &str, version: &str) -> Vec<u8> {
    json!({
        "format": 1,
        "channel": channel,
        "releases": [{
            "version": version, "variant": "standalone", "architecture": "amd64",
            "image": "docker://registry.example/os/node", "digest": format!("sha256:{}", "5".repeat(64)),
            "published": "2026-11-01T00:00:00Z",
        }],
    })
    .to_string()
    .into_bytes()
}

fn repository() -> Repository {
    let mut repository = Repository::new();
    repository.target("targets", "stable.json", &document("stable", "1.4.0"));
    repository.target("targets", "other.json", &document("stable", "9"));
    repository.publish(&["targets", "snapshot", "timestamp"]);
    repository
}

/// What is served, by its path below the place.
fn files(repository: &Repository) -> BTreeMap<String, Vec<u8>> {
    let path = |name: &String| match name.starts_with("targets/") {
        true => name.clone(),
        false => format!("metadata/{name}"),
    };
    let bytes = |served: &Served| match served {
        Served::Bytes(bytes) => bytes.clone(),
        Served::Endless => vec![b' '; 64 << 20],
    };
    repository.files.iter().map(|(name, served)| (path(name), bytes(served))).collect()
}

struct Scene {
    folder: TempDir,
    repository: Repository,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { folder: TempDir::new().unwrap(), repository: repository() };
        fs::write(scene.folder.path().join("root.json"), scene.repository.bytes("1.root.json")).unwrap();
        scene
    }

    fn publish(&self) -> PathBuf {
        let top = self.folder.path().join("served");
        let _ = fs::remove_dir_all(&top);
        for (name, bytes) in files(&self.repository) {
            let path = top.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        top
    }

    fn show(&self, from: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rocketctl"))
            .args(["release", "show", "--root", "root.json", "--from", from])
            .args(more)
            .env("CONTAINERS_REGISTRIES_CONF", self.folder.path().join("registries.conf"))
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn believes(&self, from: &str) {
        let output = self.show(from, &["--json"]);
        assert!(output.status.success(), "{from}: {}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["document"]["releases"][0]["version"], "1.4.0", "{from}: {said}");
        let output = self.show(from, &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("1.4.0 standalone amd64: open to 100.0 %"), "{from}: {text}");
    }

    /// Published as a directory it is refused, for this reason.
    fn refuses(&self, more: &[&str], reason: &str) {
        let output = self.show(&format!("dir:{}", self.publish().display()), more);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "'{reason}' is not in: {said}");
    }
}

/// A web server with the files of a directory, as long as the test runs.
fn serve(top: &Path) -> String {
    serve_at(top, "")
}

/// One whose clock says this.
fn serve_at(top: &Path, date: &str) -> String {
    let date = if date.is_empty() { String::new() } else { format!("Date: {date}\r\n") };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (host, top) = (listener.local_addr().unwrap(), top.to_owned());
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head);
            let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches("/os/").to_owned();
            let (status, body) = match fs::read(top.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let _ = write!(
                client,
                "HTTP/1.1 {status}\r\n{date}Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = client.write_all(&body);
        }
    });
    format!("http://{host}/os/")
}

#[tokio::test]
async fn believes_a_channel_wherever_it_lies() {
    let scene = Scene::new();
    let top = scene.publish();
    scene.believes(&format!("dir:{}", top.display()));
    scene.believes(&serve(&top));

    let registry = Registry::start();
    let text = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.host);
    fs::write(scene.folder.path().join("registries.conf"), text).unwrap();
    let place = format!("docker://{}/os/node", registry.host);
    let output = scene.show(&place, &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no tag rocketos-releases"), "{output:?}");
    let reader = reader(scene.folder.path(), &[&registry.host]);
    reader.put_files(&reference(&place), TAG, KIND, KIND, files(&scene.repository)).await.unwrap();
    scene.believes(&place);
}

#[test]
fn follows_a_root_that_was_rotated() {
    let mut scene = Scene::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let old = scene.repository.keys[role].clone();
        scene.repository.give_keys(role, vec![tuf::Key::ecdsa()], 1);
        if role == "root" {
            // Signed by those who go and those who come.
            scene.repository.keys.get_mut(role).unwrap().extend(old);
        }
    }
    scene.repository.publish(&["root", "targets", "snapshot", "timestamp"]);
    scene.believes(&format!("dir:{}", scene.publish().display()));
}

#[test]
fn refuses_what_was_not_signed_now() {
    let mut scene = Scene::new();
    scene.refuses(&["--channel", "absent"], "absent.json");
    scene.refuses(&["--channel", "other"], "the document is that of the channel stable");
    scene.refuses(&["--channel", "../x"], "not a channel's name");
    // The root is another's.
    fs::write(scene.folder.path().join("root.json"), Repository::new().bytes("1.root.json")).unwrap();
    scene.refuses(&[], "the role timestamp is signed by 0 of its keys");
    fs::write(scene.folder.path().join("root.json"), scene.repository.bytes("1.root.json")).unwrap();

    // A byte of the document.
    for (name, served) in &mut scene.repository.files {
        if let (true, Served::Bytes(bytes)) = (name.contains("stable.json"), served) {
            *bytes.last_mut().unwrap() ^= 1;
        }
    }
    scene.refuses(&[], "stable.json");

    for role in ["timestamp", "snapshot", "targets", "root"] {
        let mut scene = Scene::new();
        scene.repository.document(role)["expires"] = json!("2026-01-01T00:00:00Z");
        scene.repository.publish(&["root", "targets", "snapshot", "timestamp"]);
        scene.refuses(&[], "expired");
    }
}

#[test]
fn notices_a_clock_that_is_far_off() {
    let said = |output: Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let mut scene = Scene::new();
    let long_ago = "Sat, 01 Jan 2000 00:00:00 GMT";
    let doubt = "the server's 2000-01-01T00:00:00Z: one is wrong";
    let output = scene.show(&serve_at(&scene.publish(), long_ago), &[]);
    assert!(output.status.success() && said(output).contains(doubt), "it is said, and no reason to refuse");
    assert!(!said(scene.show(&serve(&scene.publish()), &[])).contains("wrong"));
    // Where metadata has expired, the clock may be why.
    scene.repository.document("timestamp")["expires"] = json!("2026-01-01T00:00:00Z");
    scene.repository.publish(&["timestamp"]);
    let error = said(scene.show(&serve_at(&scene.publish(), long_ago), &[]));
    assert!(error.contains("expired") && error.contains(doubt), "{error}");
}

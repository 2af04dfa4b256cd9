//! Debian's `docker-registry` on a free loopback port.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;

use super::image::{INDEX, Image, MANIFEST, digest};

/// A running registry; gone when dropped.
pub struct Registry {
    child: Child,
    pub host: String,
    directory: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    pub fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            directory.path().join("data").display()
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need the program docker-registry: 'apt-get install docker-registry'");
        Self { child, host: address.to_string(), directory }.listening()
    }

    /// One that has the referrers API, and keeps everything in memory.
    pub fn with_referrers() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        drop(listener);
        let child = Command::new("referrers-registry")
            .arg(&host)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need the program referrers-registry, which 'cargo xtask test' compiles");
        Self { child, host, directory: TempDir::new().unwrap() }.listening()
    }

    fn listening(self) -> Self {
        let began = Instant::now();
        while TcpStream::connect(&self.host).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "the registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    async fn put(&self, path: &str, media_type: &str, bytes: Vec<u8>) {
        let url = format!("http://{}/v2/{path}", self.host);
        let request = reqwest::Client::new().put(url).header("Content-Type", media_type).body(bytes);
        let response = request.send().await.unwrap();
        let status = response.status();
        assert_eq!(status.as_u16(), 201, "{path}: {}", String::from_utf8_lossy(&response.bytes().await.unwrap()));
    }

    async fn put_blob(&self, repository: &str, bytes: &[u8]) {
        let url = format!("http://{}/v2/{repository}/blobs/uploads/", self.host);
        let begun = reqwest::Client::new().post(url).header("Content-Length", "0").send().await.unwrap();
        // It may be relative, and may have a query of its own.
        let mut url = begun.url().join(begun.headers()["Location"].to_str().unwrap()).unwrap();
        url.query_pairs_mut().append_pair("digest", &digest(bytes));
        let done = reqwest::Client::new().put(url).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(done.status().as_u16(), 201);
    }

    /// Pushes an image under a tag.
    pub async fn push(&self, repository: &str, tag: &str, image: &Image) {
        for layer in &image.layers {
            self.put_blob(repository, &layer.bytes).await;
        }
        self.put_blob(repository, &image.config).await;
        self.put(&format!("{repository}/manifests/{tag}"), MANIFEST, image.manifest.clone()).await;
    }

    /// Pushes an index of pushed images.
    pub async fn push_index(&self, repository: &str, tag: &str, entries: &[(&str, &Image)]) {
        let manifests: Vec<_> = entries
            .iter()
            .map(|(architecture, image)| {
                json!({"mediaType": MANIFEST, "digest": image.digest(), "size": image.manifest.len(),
                       "platform": {"os": "linux", "architecture": architecture}})
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
        self.put(&format!("{repository}/manifests/{tag}"), INDEX, index.into_bytes()).await;
    }
}

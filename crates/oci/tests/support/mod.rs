//! What the tests stand on: a real registry, a network that breaks in front of it, and images made by hand.

#![allow(dead_code, reason = "each test file uses another part")]

pub mod certificate;
pub mod image;
pub mod proxy;
pub mod registry;

use std::{path::Path, sync::Mutex, time::Duration};

use rocketos_model::ImageReference;
use rocketos_oci::{Layer, OciError, Patience, Progress, Reader, ReaderConfig, Resolved};
use rocketos_store::{Store, Verity};

/// A configuration that speaks plain HTTP to `hosts` and gives up soon.
pub fn config(directory: &Path, hosts: &[&str]) -> ReaderConfig {
    let text: String =
        hosts.iter().map(|host| format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n")).collect();
    let path = directory.join("registries.conf");
    std::fs::write(&path, text).unwrap();
    ReaderConfig {
        registries_conf: Some(path),
        patience: Patience {
            attempts: 3,
            first_delay: Duration::from_millis(10),
            stall: Duration::from_secs(2),
            ..Patience::default()
        },
        architecture: "amd64".to_owned(),
        ..ReaderConfig::default()
    }
}

pub fn reader(directory: &Path, hosts: &[&str]) -> Reader {
    Reader::new(config(directory, hosts)).unwrap()
}

pub fn store(directory: &Path) -> Store {
    Store::init(&directory.join("store"), Verity::Optional).unwrap()
}

pub fn reference(text: &str) -> ImageReference {
    text.parse().unwrap()
}

/// Resolves and fetches; the first error.
pub async fn pull(reader: &Reader, text: &str, store: &Store) -> Result<Resolved, OciError> {
    let resolved = reader.resolve(&reference(text)).await?;
    reader.fetch(&resolved, store, &()).await?;
    Ok(resolved)
}

/// The chain of messages, as `main` prints it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Remembers what was reported.
#[derive(Default)]
pub struct Heard {
    pub words: Mutex<Vec<String>>,
    pub bytes: Mutex<u64>,
}

impl Progress for Heard {
    fn layer_skipped(&self, layer: &Layer) {
        self.words.lock().unwrap().push(format!("skipped {}", layer.digest));
    }
    fn layer_started(&self, layer: &Layer) {
        self.words.lock().unwrap().push(format!("started {}", layer.digest));
    }
    fn layer_advanced(&self, _layer: &Layer, bytes: u64) {
        *self.bytes.lock().unwrap() += bytes;
    }
    fn layer_done(&self, layer: &Layer) {
        self.words.lock().unwrap().push(format!("done {}", layer.digest));
    }
}

//! A publisher of releases: a desk with keys, and the verbs of `rocketctl release` (`docs/releasing.md`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Run;
use crate::{Registry, paths};

/// The keys a desk begins with; all others are made when they are first named.
pub const KEYS: [&str; 3] = ["root", "releases", "online"];
/// The channel.
pub const CHANNEL: &str = "stable";

/// A desk, for one repository of the fixture's registry.
#[derive(Debug)]
pub struct Publisher {
    folder: PathBuf,
    place: String,
}

impl Publisher {
    /// Lays out a desk in `folder` whose metadata goes to `repository`; nothing is published yet.
    pub fn new(folder: &Path, registry: &Registry, repository: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        // Under the name that guests know, which the host reaches elsewhere.
        let conf = format!(
            "[[registry]]\nprefix = \"{}\"\nlocation = \"{}\"\ninsecure = true\n",
            registry.in_guest(),
            registry.on_host()
        );
        std::fs::write(folder.join("registries.conf"), conf)?;
        let place = format!("docker://{}/{repository}", registry.in_guest());
        let publisher = Self { folder: folder.to_owned(), place };
        for name in KEYS {
            publisher.key(name)?;
        }
        let keys = ["root=root", "targets=releases", "snapshot=online", "timestamp=online"].map(|key| {
            let (role, name) = key.split_once('=').unwrap_or_default();
            format!("--{role}-key={name}.pub")
        });
        publisher.release(&[&["init", "--dir=desk"], &keys.each_ref().map(String::as_str)[..]].concat())?;
        publisher.release(&["sign", "--dir=desk", "--yes", "--key=root.pem"])?;
        Ok(publisher)
    }

    /// Where the metadata is.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Makes a key, `<name>.pem` and `<name>.pub`; the text of the latter.
    pub fn key(&self, name: &str) -> Result<String> {
        let (private, public) = (format!("{name}.pem"), format!("{name}.pub"));
        let openssl = |args: &[&str]| Run::new("openssl").args(args).cwd(&self.folder).quiet();
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", &private])?;
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &public])?;
        std::fs::read_to_string(self.folder.join(&public)).with_context(|| format!("reading {public}"))
    }

    /// The first root's bytes.
    pub fn root(&self) -> Result<Vec<u8>> {
        std::fs::read(self.folder.join("desk/metadata/1.root.json")).context("reading the first root")
    }

    /// Writes a file that verbs may name.
    pub fn file(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.folder.join(name), text).with_context(|| format!("writing {name}"))
    }

    /// Runs a verb of `rocketctl release`.
    pub fn release(&self, args: &[&str]) -> Result<String> {
        self.rocketctl(&[&["release"], args].concat())
    }

    /// Drafts with a verb, signs with keys, and publishes.
    pub fn publish(&self, draft: &[&str], keys: &[&str], online: &str) -> Result<()> {
        let (verb, rest) = draft.split_first().context("no verb")?;
        self.release(&[&[*verb, "--dir=desk"], rest].concat())?;
        let keys: Vec<String> = keys.iter().map(|key| format!("--key={key}.pem")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.release(&[&["sign", "--dir=desk", "--yes"], &keys[..]].concat())?;
        self.upload(online)
    }

    /// Publishes what is drafted and signed.
    pub fn upload(&self, online: &str) -> Result<()> {
        let key = format!("--key={online}.pem");
        self.release(&["publish", "--dir=desk", &key, "--to", &self.place]).map(drop)
    }

    /// Signs an image.
    pub fn sign(&self, reference: &str, key: &str) -> Result<()> {
        self.rocketctl(&["image", "sign", reference, &format!("--key={key}.pem")]).map(drop)
    }

    fn rocketctl(&self, args: &[&str]) -> Result<String> {
        Run::new(paths::work().join("tools/rocketctl"))
            .args(args)
            .env("CONTAINERS_REGISTRIES_CONF", self.folder.join("registries.conf"))
            .cwd(&self.folder)
            .printed()
            .output()
    }
}

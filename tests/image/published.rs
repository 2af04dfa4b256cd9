//! Builds images, pushes them to a registry of the test's own, and pulls them as a node does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rocketos_model::ImageReference;
use rocketos_oci::{Reader, ReaderConfig, Resolved};
use rocketos_store::{Image, Store, Verity};
use rocketos_tests::{Images, Progress, Registry, Release, Tools, paths};
use tempfile::TempDir;

use crate::listing::Listing;

/// The variant most tests look at.
pub const VARIANT: &str = "standalone";
/// Its version.
pub const VERSION: &str = "1.0.0";

/// Releases that this process has built, by variant: asking podman again costs seconds.
static BUILT: Mutex<BTreeMap<String, Release>> = Mutex::new(BTreeMap::new());
/// Manifest digests of what this process has pushed, by image: compressing costs more.
static PUSHED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// A registry that ends with the test, and the means to fill and read it.
pub struct Published {
    pub progress: Progress,
    pub tools: Tools,
    pub registry: Registry,
    pub scratch: TempDir,
}

/// An image in a store of its own.
pub struct Pulled {
    pub resolved: Resolved,
    pub image: Image,
    pub files: Listing,
    pub store: Store,
    _folder: TempDir,
}

impl Published {
    /// Starts a registry that knows what earlier tests pushed.
    pub fn new() -> Result<Self> {
        let progress = Progress::new();
        let tools = Tools::ensure(&progress)?;
        std::fs::create_dir_all(paths::work())?;
        let scratch = tempfile::Builder::new().prefix("image-").tempdir_in(paths::work())?;
        let registry = Registry::start(&tools, &paths::work().join("images"))?;
        Ok(Self { progress, tools, registry, scratch })
    }

    /// Builds a variant of this checkout.
    pub fn variant(&self, variant: &str) -> Result<Release> {
        self.built(variant, &paths::workspace().join("variants").join(variant))
    }

    /// Builds the variant of `tests/data/<name>`.
    pub fn derived(&self, name: &str) -> Result<Release> {
        self.built(name, &data(name))
    }

    fn built(&self, name: &str, folder: &Path) -> Result<Release> {
        let mut built = lock(&BUILT);
        if let Some(release) = built.get(name) {
            return Ok(release.clone());
        }
        let release = Images::new(&self.progress).derived(&folder.join("Containerfile"), name, VERSION)?;
        built.insert(name.to_owned(), release.clone());
        Ok(release)
    }

    /// Pushes an image and returns its name there, by digest.
    pub fn push(&self, image: &str, repository: &str) -> Result<ImageReference> {
        let mut pushed = lock(&PUSHED);
        let digest = match pushed.get(image) {
            Some(digest) => digest.clone(),
            None => Images::new(&self.progress).push(image, &self.registry, repository, VERSION)?,
        };
        pushed.insert(image.to_owned(), digest.clone());
        let name = format!("docker://{}/{repository}@{digest}", self.registry.on_host());
        name.parse().with_context(|| format!("the name {name}"))
    }

    /// Reads images as programs do, and over plain HTTP.
    pub fn reader(&self) -> Result<Reader> {
        let config = ReaderConfig { registries_conf: Some(self.registries_conf()?), ..ReaderConfig::default() };
        Ok(Reader::new(config)?)
    }

    /// Writes a `registries.conf` that allows the registry plain HTTP.
    pub fn registries_conf(&self) -> Result<std::path::PathBuf> {
        let path = self.scratch.path().join("registries.conf");
        let text = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", self.registry.on_host());
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Brings an image into a new store, as a node does.
    pub fn pull(&self, reference: &ImageReference) -> Result<Pulled> {
        let folder = tempfile::tempdir_in(self.scratch.path())?;
        let store = Store::init(&folder.path().join("composefs"), Verity::Optional)?;
        let reader = self.reader()?;
        let resolved = self.progress.step(&format!("pulling {reference}"), || {
            runtime()?.block_on(async {
                let resolved = reader.resolve(reference).await?;
                reader.fetch(&resolved, &store, &()).await?;
                Ok(resolved)
            })
        })?;
        let image = store.commit_image(&resolved.manifest, &resolved.config)?;
        let files = Listing::parse(&store.list_files(&image.facts.digest)?)?;
        Ok(Pulled { resolved, image, files, store, _folder: folder })
    }

    /// Builds, pushes and pulls the variant most tests look at.
    pub fn standalone(&self) -> Result<(Release, Pulled)> {
        let release = self.variant(VARIANT)?;
        let reference = self.push(&release.image, "rocketos/standalone")?;
        let pulled = self.pull(&reference)?;
        Ok((release, pulled))
    }
}

/// A folder of test data.
pub fn data(name: &str) -> std::path::PathBuf {
    paths::workspace().join("tests/data").join(name)
}

/// Runs what the reader promises.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")
}

/// Names of the entries of a folder.
pub fn names_in(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A test that failed while it held the lock leaves the map whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

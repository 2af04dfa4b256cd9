//! What the tests stand on: images made by hand, machines that are two directories, and a loader that picks as
//! systemd-boot does.

#![allow(dead_code, reason = "each test file uses another part")]

pub mod image;

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write as _},
    os::{fd::OwnedFd, unix::fs::symlink},
    path::{Path, PathBuf},
    process::Command,
};

use rocketos_boot::Entry;
use rocketos_deploy::{Activation, DeployError, Deployment, Node, Staged, populate, roles, stage};
use rocketos_model::{Booted, DeploymentId, ImageReference, Tries, layout};
use rocketos_store::{Image, StoreError, Verity};
use rocketos_sys::mount::{Access, MountError, MountOption, fd_path, mount_virtual};

use image::Release;

/// What everything here follows.
pub fn reference() -> ImageReference {
    "docker://registry.example/rocketos/dev:stable".parse().unwrap()
}

/// Where a machine's file systems are.
enum Place {
    Directory(tempfile::TempDir),
    /// Somebody else's.
    Given(PathBuf),
    Memory(OwnedFd),
}

impl Place {
    fn path(&self) -> PathBuf {
        match self {
            Self::Directory(directory) => directory.path().to_owned(),
            Self::Given(path) => path.clone(),
            Self::Memory(mount) => fd_path(mount),
        }
    }
}

/// A root partition, an ESP, and what runs.
pub struct Machine {
    pub node: Node,
    root: Place,
    esp: Place,
}

/// A file system in memory with limits, attached nowhere; it ends with the test.
///
/// Mounting takes root: without it the test that needs a full disk fails and says so, rather than pass unseen.
pub fn memory(options: &[(&str, &str)]) -> OwnedFd {
    let options: Vec<_> = options.iter().map(|(key, value)| MountOption::Value(key, value)).collect();
    let mounted: Result<_, MountError> = mount_virtual("tmpfs", Access::Writable, &options);
    mounted.expect("this test fills a file system of its own and must run as root to mount it")
}

fn fill(top: &Path) -> PathBuf {
    let path = top.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    while file.write(&[1; 4096]).is_ok() {}
    path
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, kind) = (to.join(entry.file_name()), entry.file_type().unwrap());
        if kind.is_dir() {
            fs::create_dir_all(&path).unwrap();
            copy_tree(&entry.path(), &path);
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), path).unwrap();
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
}

fn directory() -> Place {
    Place::Directory(tempfile::tempdir().unwrap())
}

impl Machine {
    /// An empty one, on directories.
    pub fn new() -> Self {
        Self::on(directory(), directory())
    }

    /// An empty one whose ESP has limits.
    pub fn with_esp(options: &[(&str, &str)]) -> Self {
        Self::on(directory(), Place::Memory(memory(options)))
    }

    /// A running one whose ESP has limits; absent where they are too narrow for that.
    pub fn try_with_esp(options: &[(&str, &str)], release: &Release) -> Option<Self> {
        Self::try_on(directory(), Place::Memory(memory(options)), release)
    }

    /// A running one whose root partition has limits; absent where they are too narrow for that.
    pub fn try_with_root(options: &[(&str, &str)], release: &Release) -> Option<Self> {
        Self::try_on(Place::Memory(memory(options)), directory(), release)
    }

    fn try_on(root: Place, esp: Place, release: &Release) -> Option<Self> {
        let node = populate(&root.path(), &esp.path(), b"loader", Verity::Optional).ok()?;
        let mut machine = Self { node, root, esp };
        machine.bring(release, Activation::Good).ok()?;
        machine.boot();
        Some(machine)
    }

    fn on(root: Place, esp: Place) -> Self {
        let node = populate(&root.path(), &esp.path(), b"loader", Verity::Optional).unwrap();
        Self { node, root, esp }
    }

    /// Another of the same content.
    pub fn copy(&self) -> Self {
        let (root, esp) = (directory(), directory());
        for (from, to) in [(&self.root, &root), (&self.esp, &esp)] {
            let copied = Command::new("cp").arg("-aT").args([from.path(), to.path()]).status().unwrap();
            assert!(copied.success());
        }
        let node = Node::at(&root.path(), &esp.path(), Verity::Optional, self.node.booted.clone()).unwrap();
        Self { node, root, esp }
    }

    /// Another of the same content, on file systems in memory that have limits.
    pub fn copy_to_memory(&self, root: &[(&str, &str)], esp: &[(&str, &str)]) -> Self {
        let [root, esp] = [root, esp].map(|options| Place::Memory(memory(options)));
        for (from, to) in [(&self.root, &root), (&self.esp, &esp)] {
            copy_tree(&from.path(), &to.path());
        }
        let node = Node::at(&root.path(), &esp.path(), Verity::Optional, self.node.booted.clone()).unwrap();
        Self { node, root, esp }
    }

    /// The same, with nothing open.
    pub fn close(self) -> Closed {
        Closed { booted: self.node.booted.clone().unwrap(), root: self.root, esp: self.esp }
    }

    /// Leaves the ESP without a free byte; returns the file that takes them.
    pub fn fill_esp(&self) -> PathBuf {
        fill(&self.esp())
    }

    /// Leaves the root partition without a free byte; returns the file that takes them.
    pub fn fill_root(&self) -> PathBuf {
        fill(&self.root())
    }

    /// One with a good deployment that runs.
    pub fn running(mut self, release: &Release) -> Self {
        self.bring(release, Activation::Good).unwrap();
        self.boot();
        self
    }

    pub fn root(&self) -> PathBuf {
        self.root.path()
    }

    pub fn esp(&self) -> PathBuf {
        self.esp.path()
    }

    /// What `upgrade` does when the layers have arrived.
    pub fn pull(&self, release: &Release) -> Result<Image, StoreError> {
        for (id, tar) in &release.layers {
            self.node.store.import_layer(id, &mut Cursor::new(tar))?;
        }
        self.node.store.commit_image(&release.manifest, &release.config)
    }

    pub fn bring(&self, release: &Release, activation: Activation) -> Result<Staged, DeployError> {
        let image = self.pull(release)?;
        stage(&self.node, &image, &reference().into(), activation)
    }

    pub fn entries(&self) -> Vec<String> {
        self.node.esp.entries().unwrap().iter().map(|entry| entry.name.to_string()).collect()
    }

    /// Boots as systemd-boot does: the first entry, one of its tries used up where it is counted.
    pub fn boot(&mut self) -> DeploymentId {
        let Entry { name } = self.node.esp.entries().unwrap().remove(0);
        let mut used = name;
        if let Some(Tries { left, done }) = name.tries {
            used.tries = Some(Tries { left: left - 1, done: done + 1 });
            fs::rename(self.esp().join(name.path()), self.esp().join(used.path())).unwrap();
        }
        let origin = self.node.origin(&name.deployment).unwrap().unwrap();
        assert!(self.esp().join(layout::uki_dir(&name.deployment)).join(&origin.uki).exists(), "it has no kernel");
        self.node.booted = Some(Booted {
            composefs_digest: origin.composefs_digest,
            deployment: Some(name.deployment),
            entry: Some(name.identifier()),
            disk: "/dev/vda".into(),
            root: "/dev/vda2".into(),
            esp: "/dev/vda1".into(),
        });
        name.deployment
    }

    /// The roles: booted, staged, rollback, others.
    pub fn roles(&self) -> Shape {
        let roles = roles(&self.node).unwrap();
        let id = |deployment: Option<&Deployment>| deployment.map(|deployment| deployment.id);
        Shape {
            booted: id(roles.booted.as_ref()),
            staged: id(roles.staged.as_ref()),
            rollback: id(roles.rollback.as_ref()),
            next: id(roles.next()),
            others: roles.others.iter().map(|other| other.id).collect(),
        }
    }

    /// Every file of root and ESP with its content.
    pub fn files(&self) -> Files {
        let mut files = files(&self.root(), "root");
        files.extend(files_of_esp(&self.esp()));
        files
    }
}

/// A machine whose store nobody has open.
pub struct Closed {
    pub booted: Booted,
    root: Place,
    esp: Place,
}

impl Closed {
    /// One that somebody else takes away.
    pub fn at(root: &Path, esp: &Path, booted: Booted) -> Self {
        Self { booted, root: Place::Given(root.to_owned()), esp: Place::Given(esp.to_owned()) }
    }

    pub fn root(&self) -> PathBuf {
        self.root.path()
    }

    pub fn esp(&self) -> PathBuf {
        self.esp.path()
    }

    pub fn open(self) -> Machine {
        let Self { booted, root, esp } = self;
        let node = Node::at(&root.path(), &esp.path(), Verity::Optional, Some(booted)).unwrap();
        Machine { node, root, esp }
    }
}

/// Names of the roles.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    pub booted: Option<DeploymentId>,
    pub staged: Option<DeploymentId>,
    pub rollback: Option<DeploymentId>,
    pub next: Option<DeploymentId>,
    pub others: Vec<DeploymentId>,
}

/// Every name below a directory; directories have no content.
pub type Files = BTreeMap<String, Option<Vec<u8>>>;

pub fn files_of_esp(top: &Path) -> Files {
    files(top, "esp")
}

fn files(top: &Path, prefix: &str) -> Files {
    let mut found = Files::new();
    for entry in fs::read_dir(top).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}/{}", path.file_name().unwrap().to_str().unwrap());
        let kind = path.symlink_metadata().unwrap().file_type();
        let content = match (kind.is_dir(), kind.is_symlink()) {
            (true, _) => None,
            (_, true) => Some(fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()),
            _ => Some(fs::read(&path).unwrap()),
        };
        if content.is_none() {
            found.extend(files(&path, &name));
        }
        found.insert(name, content);
    }
    found
}

/// Says which names differ, since the contents would fill the screen.
#[track_caller]
pub fn assert_same(now: &Files, before: &Files, why: &str) {
    let names: std::collections::BTreeSet<&String> = now.keys().chain(before.keys()).collect();
    let differ: Vec<_> = names
        .into_iter()
        .filter(|name| now.get(*name) != before.get(*name))
        .map(|name| match (before.contains_key(name), now.contains_key(name)) {
            (true, true) => format!("changed: {name}"),
            (true, false) => format!("gone: {name}"),
            _ => format!("new: {name}"),
        })
        .collect();
    assert!(differ.is_empty(), "{why}: {differ:#?}");
}

/// The chain of messages, as `rocketctl` prints it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        if parts.last() != Some(&cause.to_string()) {
            parts.push(cause.to_string());
        }
        source = cause.source();
    }
    parts.join(": ")
}

//! What tests of several verbs stand on: a machine of directories, its images made by hand.

// The images that rocketos-deploy is tested with, and the registry of rocketos-oci.
#[path = "../../crates/deploy/tests/support/image.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
pub mod made;
#[path = "../../crates/oci/tests/support/mod.rs"]
pub mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use made::Release;
use rocketos_deploy::{Activation, Node, populate, roles, stage};
use rocketos_model::{Booted, DeploymentId, ImageReference, ObjectId};
use rocketos_store::{Verity, object_id_of};
use support::image::{Blob, Image, TAR};
use tempfile::TempDir;

/// A node that runs the first of its deployments.
pub struct Machine {
    pub folder: TempDir,
    pub node: Node,
    /// Registries that speak plain HTTP.
    pub hosts: Vec<String>,
}

impl Machine {
    pub fn new(deployments: &[(&Release, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let (root, esp) = (folder.path().join("root"), folder.path().join("esp"));
        fs::create_dir_all(&esp).unwrap();
        let mut node = populate(&root, &esp, b"MZ", Verity::Optional).unwrap();
        for (release, from) in deployments.iter().rev() {
            bring(&node, release, from, Activation::Good);
        }
        node.booted = Some(Booted {
            composefs_digest: deployments[0].0.composefs,
            deployment: Some(deployments[0].0.id()),
            entry: None,
            disk: "/dev/vda".into(),
            root: "/dev/vda2".into(),
            esp: "/dev/vda1".into(),
        });
        Self { folder, node, hosts: Vec::new() }
    }

    pub fn stage(&self, release: &Release, from: &str, activation: Activation) {
        bring(&self.node, release, from, activation);
    }

    pub fn trusting(mut self, host: &str) -> Self {
        self.hosts.push(host.to_owned());
        self
    }

    pub fn store(&self) -> PathBuf {
        self.node.root.join("composefs")
    }

    pub fn object(&self, id: &ObjectId) -> PathBuf {
        let hex = id.to_hex();
        self.store().join("objects").join(&hex[..2]).join(&hex[2..])
    }

    pub fn spoil(&self, content: &[u8]) -> ObjectId {
        let id = object_id_of(content);
        fs::write(self.object(&id), b"spoilt").unwrap();
        id
    }

    pub fn next(&self) -> DeploymentId {
        roles(&self.node).unwrap().next().unwrap().id
    }

    /// Everything in the store.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        everything(&self.store())
    }
}

fn bring(node: &Node, release: &Release, from: &str, activation: Activation) {
    for (id, tar) in &release.layers {
        node.store.import_layer(id, &mut Cursor::new(tar)).unwrap();
    }
    let image = node.store.commit_image(&release.manifest, &release.config).unwrap();
    let from: ImageReference = from.parse().unwrap();
    stage(node, &image, &from.into(), activation).unwrap();
}

pub fn everything(top: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(top).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(everything(&entry.path())),
            kind if kind.is_symlink() => {
                let target = fs::read_link(entry.path()).unwrap();
                found.insert(entry.path(), target.into_os_string().into_encoded_bytes());
            }
            _ => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found
}

/// As it is served.
pub fn served(release: &Release) -> Image {
    let blob = |(id, tar): &(rocketos_model::DiffId, Vec<u8>)| Blob {
        bytes: tar.clone(),
        media_type: TAR,
        diff_id: id.to_string(),
    };
    Image {
        layers: release.layers.iter().map(blob).collect(),
        config: release.config.clone(),
        manifest: release.manifest.clone(),
    }
}

//! Which deployment runs: what the loader says, held against what the root partition says.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use rocketos_model::{ComposefsDigest, DeploymentId, EntryName, Origin, layout, limits};
use rustix::fs::{Dir, Mode, OFlags, openat};

use crate::{console, root};

/// Reads a deployment's origin; absent where there is no such deployment.
fn origin(sysroot: &OwnedFd, id: &DeploymentId) -> Result<Option<Origin>> {
    let path = format!("{}/{}", layout::deployment_dir(id), layout::deployment::ORIGIN);
    let text = root::read_untrusted(sysroot, &path, limits::CONFIG_FILE_BYTES)
        .with_context(|| format!("reading {path} on the root partition"))?;
    text.map(|text| toml::from_str(&text)).transpose().with_context(|| format!("reading {path} on the root partition"))
}

/// Names of deployments; anything else in their directory is not ours to judge.
fn deployments(sysroot: &OwnedFd) -> Result<Vec<DeploymentId>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(sysroot, layout::root::DEPLOY, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for entry in Dir::new(directory)? {
        found.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<DeploymentId>().ok()));
    }
    Ok(found)
}

/// Every deployment of the image; one whose origin cannot be read is noted and passed over.
fn with_image(sysroot: &OwnedFd, digest: &ComposefsDigest) -> Result<Vec<DeploymentId>> {
    let mut matching = Vec::new();
    for id in deployments(sysroot).with_context(|| format!("listing {}", layout::root::DEPLOY))? {
        match origin(sysroot, &id) {
            Ok(Some(origin)) if origin.composefs_digest == *digest => matching.push(id),
            Ok(_) => {}
            Err(error) => console::warning(&format!("{error:#}")),
        }
    }
    Ok(matching)
}

/// The deployment that runs.
///
/// The loader's word counts, and must agree with the command line. Where the loader said nothing, or chose an entry that is
/// not ours, it is the only deployment of the image; absent where that is none or more than one.
///
/// # Errors
/// When the entry's deployment is not on the disk, or is of another image than the command line names.
pub fn booted(sysroot: &OwnedFd, entry: Option<&str>, digest: &ComposefsDigest) -> Result<Option<DeploymentId>> {
    if let Some(name) = entry.and_then(|entry| entry.parse::<EntryName>().ok()) {
        let id = name.deployment;
        let origin = origin(sysroot, &id)?
            .with_context(|| format!("the loader chose deployment {id}, which is not on the root partition"))?;
        if origin.composefs_digest != *digest {
            bail!(
                "the loader chose deployment {id} of image {:.16}…, but the kernel that runs is for image {:.16}…: \
                 a UKI on the ESP was exchanged",
                origin.composefs_digest.to_hex(),
                digest.to_hex()
            );
        }
        return Ok(Some(id));
    }
    match with_image(sysroot, digest)?.as_slice() {
        [one] => Ok(Some(*one)),
        several => {
            console::warning(&format!(
                "the loader named no entry of ours, and {} deployments have this image",
                several.len()
            ));
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn install(disk: &Path, id: &str, digest: &str) {
        let directory = disk.join(layout::root::DEPLOY).join(id);
        fs::create_dir_all(&directory).unwrap();
        let manifest = format!("sha256:{id}{id}");
        fs::write(
            directory.join(layout::deployment::ORIGIN),
            format!(
                "image = \"oci:/x\"\nmanifest-digest = \"{manifest}\"\ncomposefs-digest = \"{digest}\"\n\
                 uki = \"k.efi\"\nkernel = \"6.12\"\narchitecture = \"amd64\"\n"
            ),
        )
        .unwrap();
    }

    fn ask(disk: &Path, entry: Option<&str>, digest: &str) -> Result<Option<String>> {
        let sysroot = fs::File::open(disk).unwrap().into();
        booted(&sysroot, entry, &digest.parse().unwrap()).map(|id| id.map(|id| id.to_string()))
    }

    #[test]
    fn takes_the_loaders_word_when_the_disk_agrees() {
        let disk = tempfile::tempdir().unwrap();
        let (one, two, image) = ("0a".repeat(16), "0b".repeat(16), "cd".repeat(64));
        install(disk.path(), &one, &image);
        install(disk.path(), &two, &image);
        let entry = format!("rocketos-000002-{two}.conf");
        assert_eq!(ask(disk.path(), Some(&entry), &image).unwrap(), Some(two));
    }

    #[test]
    fn refuses_an_exchanged_kernel() {
        let disk = tempfile::tempdir().unwrap();
        let one = "0a".repeat(16);
        install(disk.path(), &one, &"cd".repeat(64));
        let entry = format!("rocketos-000001-{one}.conf");
        let message = ask(disk.path(), Some(&entry), &"ee".repeat(64)).unwrap_err().to_string();
        assert!(message.contains("exchanged"), "{message}");
        let entry = format!("rocketos-000001-{}.conf", "0c".repeat(16));
        let message = ask(disk.path(), Some(&entry), &"cd".repeat(64)).unwrap_err().to_string();
        assert!(message.contains("not on the root partition"), "{message}");
    }

    #[test]
    fn falls_back_to_the_only_deployment_of_the_image() {
        let disk = tempfile::tempdir().unwrap();
        let (one, two, image) = ("0a".repeat(16), "0b".repeat(16), "cd".repeat(64));
        assert_eq!(ask(disk.path(), None, &image).unwrap(), None);
        install(disk.path(), &one, &image);
        install(disk.path(), &two, &"ee".repeat(64));
        fs::create_dir(disk.path().join(layout::root::DEPLOY).join("lost+found")).unwrap();
        assert_eq!(ask(disk.path(), None, &image).unwrap(), Some(one.clone()));
        assert_eq!(ask(disk.path(), Some("other.conf"), &image).unwrap(), Some(one));
        install(disk.path(), &two, &image);
        assert_eq!(ask(disk.path(), None, &image).unwrap(), None);
    }
}

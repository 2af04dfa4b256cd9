//! The links between the manifest and what boots.

use std::fs;

use anyhow::{Context as _, bail};
use rocketos_boot::uki;
use rocketos_deploy::{Deployment, Node};
use rocketos_model::{cmdline, layout};
use rocketos_store::object_id_of;

use super::Finding;

/// A check of a deployment.
type Look = fn(&Node, &Deployment) -> anyhow::Result<Finding>;

/// All of them, from the manifest down.
pub const CHECKS: [(&str, Look); 5] =
    [("manifest", manifest), ("composefs", composefs), ("image", image), ("kernel", kernel), ("entries", entries)];

/// The kernel's command line of this boot.
const CMDLINE: &str = "/proc/cmdline";
/// The mounts of this boot (proc(5)).
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Manifest and configuration are in the store, byte for byte.
fn manifest(node: &Node, deployment: &Deployment) -> anyhow::Result<Finding> {
    let digest = deployment.origin.manifest_digest;
    Ok(match node.store.documents(&digest)? {
        Some((_, config)) => Finding::Passed(format!(
            "manifest {digest} and its configuration ({} bytes) are what their digests say",
            config.len()
        )),
        None => Finding::Failed(format!("manifest {digest} or its configuration is not in the store, or damaged")),
    })
}

/// The layers come to the image that the deployment is said to be.
fn composefs(node: &Node, deployment: &Deployment) -> anyhow::Result<Finding> {
    let origin = &deployment.origin;
    let Some((_, config)) = node.store.documents(&origin.manifest_digest)? else {
        bail!("nobody knows its layers: the configuration is not in the store, or damaged");
    };
    let found = node.store.digest_of_layers(&config).context("computing what its layers come to")?;
    Ok(match found == origin.composefs_digest {
        true => Finding::Passed(format!("its layers come to {found}")),
        false => Finding::Failed(format!("its layers come to {found}, it should be {}", origin.composefs_digest)),
    })
}

/// The kernel measures the mountable image as that; what runs has it for its root.
fn image(node: &Node, deployment: &Deployment) -> anyhow::Result<Finding> {
    let expected = deployment.origin.composefs_digest;
    let found = node.store.measure_image(&expected).context("measuring its mountable image")?;
    if found != expected {
        return Ok(Finding::Failed(format!("the kernel measures {found}, it should be {expected}")));
    }
    let Some(booted) = node.booted.as_ref().filter(|booted| booted.deployment == Some(deployment.id)) else {
        return Ok(Finding::Passed("the kernel measures its mountable image as that; it does not run".to_owned()));
    };
    if booted.composefs_digest != expected {
        return Ok(Finding::Failed(format!("booted was {}, it should be {expected}", booted.composefs_digest)));
    }
    let line = fs::read_to_string(CMDLINE).with_context(|| format!("reading {CMDLINE}"))?;
    let named = cmdline::digest(&line).context("reading what the kernel was told to boot")?;
    let mounts = fs::read_to_string(MOUNTINFO).with_context(|| format!("reading {MOUNTINFO}"))?;
    let root = root_source(&mounts).unwrap_or_default();
    Ok(match (named == expected, root == format!("composefs:{expected}")) {
        (true, true) => {
            Finding::Passed("the kernel measures its mountable image as that, and it is the root".to_owned())
        }
        (false, _) => Finding::Failed(format!("the kernel was told to boot {named}")),
        (_, false) => Finding::Failed(format!("the root is '{root}'")),
    })
}

/// What is mounted at / (proc(5), mountinfo: mount point fifth, source second behind the dash); the last one covers others.
fn root_source(mountinfo: &str) -> Option<&str> {
    let mut roots = mountinfo.lines().filter(|line| line.split(' ').nth(4) == Some("/"));
    roots.next_back()?.split_once(" - ")?.1.split(' ').nth(1)
}

/// The kernel on the ESP is that of the layers, and sealed for the image.
fn kernel(node: &Node, deployment: &Deployment) -> anyhow::Result<Finding> {
    let origin = &deployment.origin;
    let bytes = node.esp.read_uki(&deployment.id, &origin.uki)?;
    let line = uki::cmdline(&bytes).context("reading the command line of the kernel on the ESP")?;
    let sealed = cmdline::digest(&line).context("reading the command line of the kernel on the ESP")?;
    if sealed != origin.composefs_digest {
        return Ok(Finding::Failed(format!("the kernel on the ESP is sealed for {sealed}")));
    }
    let image = node.store.open_image(&origin.manifest_digest).context("opening it in the store")?;
    let Some(image) = image else { bail!("it is not in the store") };
    let same = image.uki.name == origin.uki && image.uki.object() == Some(object_id_of(&bytes));
    Ok(match same {
        true => Finding::Passed(format!("{} on the ESP is that of the layers, and sealed for the image", origin.uki)),
        false => Finding::Failed(format!("{} on the ESP is not the kernel of the layers", origin.uki)),
    })
}

/// It has entries, as they were written.
fn entries(node: &Node, deployment: &Deployment) -> anyhow::Result<Finding> {
    for entry in &deployment.entries {
        if !node.esp.is_sound(entry, &deployment.origin.uki)? {
            return Ok(Finding::Failed(format!("{}/{} was altered", layout::esp::ENTRIES, entry.name)));
        }
    }
    Ok(match (deployment.entries.len(), deployment.is_bootable()) {
        (0, _) => Finding::Failed("it has no boot entry".to_owned()),
        (_, false) => Finding::Failed("no boot entry of it has tries left".to_owned()),
        (number, true) => Finding::Passed(format!("boot entries as they were written: {number}")),
    })
}

/// Every object is what its name says, read from the disk.
pub fn objects(node: &Node, deployment: &Deployment) -> anyhow::Result<Finding> {
    let origin = &deployment.origin;
    let all =
        node.store.objects_of(&origin.manifest_digest, &origin.composefs_digest).context("listing its objects")?;
    let read = node.store.scrub_these(&all).context("reading its objects")?;
    Ok(match read.damage.objects.first_key_value() {
        None => Finding::Passed(format!("{} objects, {} bytes, read from the disk", read.objects, read.bytes)),
        Some((id, fault)) => Finding::Failed(format!(
            "{} of {} objects are damaged, such as {id} ({fault}); 'rocketctl scrub' mends them",
            read.damage.objects.len(),
            read.objects
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_mounted_at_the_root() {
        let text = "1 0 0:1 / / rw - rootfs rootfs rw\n\
                    22 1 0:21 / / ro,relatime - overlay composefs:ab ro\n\
                    23 22 0:5 / /dev rw - devtmpfs dev rw\n";
        assert_eq!(root_source(text), Some("composefs:ab"));
        assert_eq!(root_source(""), None);
    }
}

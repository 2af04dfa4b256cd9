//! From an image in the store to a boot entry.
//!
//! State directory, kernel on the ESP, boot entry, in this order, each final before the next begins. A power cut leaves
//! the old boot order until the entry's one rename; what is left over then is garbage that the next prune removes.

use std::path::Path;

use rocketos_boot::{new_tries, uki};
use rocketos_model::{DeploymentId, Follow, Origin, cmdline, labels, layout};
use rocketos_store::Image;

use crate::{DeployError, Node, files};

/// Whether the staged deployment boots next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// It gets a boot entry with tries.
    Tried,
    /// It gets a boot entry that is good from the start: the first one on a disk, with nothing to fall back to.
    Good,
    /// It gets everything but the entry (`upgrade --download-only`).
    Later,
}

/// What staging made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// What the deployment is and follows.
    pub origin: Origin,
}

/// A people's name for a deployment.
pub(crate) fn title(origin: &Origin) -> String {
    let mut title = "Rocket OS".to_owned();
    for part in [&origin.version, &origin.variant].into_iter().flatten() {
        title = format!("{title} {part}");
    }
    title
}

/// Makes a committed image a deployment that follows what `follow` says.
///
/// # Errors
/// When its kernel is not sealed for the very image the store has, when a disk is full; then the boot order is what it was.
pub fn stage(node: &Node, image: &Image, follow: &Follow, activation: Activation) -> Result<Staged, DeployError> {
    let mut kernel = node.store.read_uki(&image.uki)?;
    let text = uki::cmdline_of(&mut *kernel).map_err(DeployError::Uki)?;
    let sealed = cmdline::digest(&text).map_err(DeployError::Cmdline)?;
    if sealed != image.facts.digest {
        return Err(DeployError::SealBroken { sealed: sealed.into(), found: image.facts.digest.into() });
    }
    let origin = origin(image, follow);
    let id = image.manifest_digest.deployment();
    // An entry needs room even where the kernel is there: the origin of what is installed must not change in vain.
    let missing = if node.esp.ukis()?.contains(&id) { 0 } else { image.uki.size };
    node.esp.check_room(missing)?;

    let directory = node.root.join(layout::deployment_dir(&id));
    write_state(&directory, &origin)?;
    node.esp.write_uki(&id, &origin.uki, &mut *kernel)?;
    let listed = node.esp.entries()?;
    let first = listed.first().filter(|entry| entry.name.deployment == id && entry.name.bootable());
    let good = listed.iter().any(|entry| entry.name.deployment == id && entry.is_good());
    let tries = match activation {
        Activation::Later => return Ok(Staged { origin }),
        Activation::Tried => (!good).then(new_tries),
        Activation::Good => None,
    };
    if first.is_none() {
        node.esp.add_entry(id, &title(&origin), &origin.uki, tries)?;
    }
    Ok(Staged { origin })
}

fn origin(image: &Image, follow: &Follow) -> Origin {
    let label = |key: &str| {
        let labels = image.config.config().as_ref()?.labels().as_ref()?;
        labels.get(key).cloned()
    };
    Origin {
        image: follow.image.clone(),
        manifest_digest: image.manifest_digest,
        composefs_digest: image.facts.digest,
        uki: image.uki.name.clone(),
        kernel: image.uki.name.trim_end_matches(".efi").to_owned(),
        version: label(labels::VERSION),
        variant: label(labels::VARIANT),
        created: image.config.created().clone(),
        architecture: image.config.architecture().to_string(),
        channel: follow.channel.clone(),
    }
}

/// Makes a deployment follow something else from now on.
///
/// # Errors
/// When it is not installed, or its origin cannot be written; then it is what it was.
pub fn follow(node: &Node, id: &DeploymentId, follow: &Follow) -> Result<(), DeployError> {
    let unknown = || DeployError::Unknown { wanted: id.to_string(), found: 0 };
    let origin = node.origin(id)?.ok_or_else(unknown)?;
    let Follow { image, channel } = follow.clone();
    write_origin(&node.root.join(layout::deployment_dir(id)), &Origin { image, channel, ..origin })
}

/// Writes a deployment's directory, keeping a persistent /etc that is there already.
fn write_state(directory: &Path, origin: &Origin) -> Result<(), DeployError> {
    files::directory(&directory.join(layout::deployment::ETC))?;
    write_origin(directory, origin)
}

fn write_origin(directory: &Path, origin: &Origin) -> Result<(), DeployError> {
    let text = toml::to_string(origin)
        .map_err(|error| DeployError::Format { path: directory.to_owned(), source: error.into() })?;
    files::write(&directory.join(layout::deployment::ORIGIN), text.as_bytes())
}

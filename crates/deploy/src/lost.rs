//! Releases that were to boot and never came up: nobody was left to say why, but something may be seen.

use rocketos_boot::BootError;
use rocketos_model::{BootFailure, EntryName, boot_failure};
use rocketos_store::Image;
use rocketos_sys::efivar::{EFIVARS, Variables};

use crate::{DeployError, Deployment, Node, roles::roles};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub deployment: Deployment,
    /// Why, as far as that can be seen.
    pub reason: String,
    /// True where the loader passed over its entry, which keeps its tries.
    pub passed_over: bool,
}

/// What the initramfs said of its last failure; it is forgotten by that.
fn take_word(variables: &Variables) -> Option<BootFailure> {
    // It is told to people and decides nothing, so that one which cannot be read is none.
    let word = variables.value(boot_failure::VARIABLE).ok().flatten()?;
    let _ = variables.remove(boot_failure::VARIABLE);
    BootFailure::from_bytes(&word)
}

/// What is wrong with a deployment's kernel on the ESP; nothing where it is what was written there.
fn kernel(node: &Node, deployment: &Deployment) -> Result<Option<&'static str>, DeployError> {
    let origin = &deployment.origin;
    if !node.esp.has_uki(&deployment.id, &origin.uki) {
        return Ok(Some("its kernel is not on the ESP"));
    }
    let Some(Image { uki, .. }) = node.store.open_image(&origin.manifest_digest)? else { return Ok(None) };
    let mut kernel = node.store.read_uki(&uki)?;
    match node.esp.holds_uki(&deployment.id, &origin.uki, &mut *kernel) {
        Ok(true) => Ok(None),
        Ok(false) | Err(BootError::Io { .. }) => Ok(Some("its kernel on the ESP is damaged")),
        Err(error) => Err(error.into()),
    }
}

/// Those that used up their tries, and the one that the loader passed over, for it found no kernel there.
///
/// # Errors
/// When the disk cannot be read.
pub fn lost(node: &Node) -> Result<Vec<Lost>, DeployError> {
    let (found, word) = (roles(node)?, take_word(&Variables::at(EFIVARS)));
    let passed_over = found.staged.iter().filter(|staged| !node.esp.has_uki(&staged.id, &staged.origin.uki));
    let mut all = Vec::new();
    for deployment in found.others.iter().filter(|other| other.has_failed()).chain(passed_over) {
        let said = word
            .as_ref()
            .filter(|word| word.entry.parse::<EntryName>().is_ok_and(|entry| entry.deployment == deployment.id));
        let reason = match (kernel(node, deployment)?, said) {
            (Some(damage), _) => damage.to_owned(),
            (None, Some(said)) => format!("its initramfs said: {}", said.reason),
            (None, None) => "it did not come up; a crash may have left traces in /var/lib/systemd/pstore".to_owned(),
        };
        all.push(Lost { deployment: deployment.clone(), reason, passed_over: deployment.is_bootable() });
    }
    Ok(all)
}

/// Takes a deployment out of the boot order.
///
/// # Errors
/// When the ESP cannot be written.
pub fn withdraw(node: &Node, deployment: &Deployment) -> Result<(), DeployError> {
    deployment.entries.iter().try_for_each(|entry| Ok(node.esp.remove_entry(entry)?))
}

//! Going back, and declaring a boot good.

use rocketos_boot::new_tries;
use rocketos_model::DeploymentId;

use crate::{DeployError, Deployment, Node, roles::roles, stage::title};

/// Makes `to`, or the deployment before the running one, boot next. Run again, it makes the running one boot next, and so
/// it does where there is none before and something staged to take back.
///
/// One entry with the next sequence is added; nothing is removed.
///
/// # Errors
/// When there is nothing to go back to, or it lost its kernel.
pub fn rollback(node: &Node, to: Option<&DeploymentId>) -> Result<Deployment, DeployError> {
    let roles = roles(node)?;
    let target = match to {
        Some(id) => roles.all().find(|deployment| deployment.id == *id),
        None if roles.rollback_queued => roles.booted.as_ref(),
        None if roles.rollback.is_none() && roles.staged.is_some() => roles.booted.as_ref(),
        None => roles.rollback.as_ref(),
    };
    let target = target.ok_or(DeployError::NoRollback)?.clone();
    if !node.esp.has_uki(&target.id, &target.origin.uki) {
        return Err(DeployError::NotBootable(target.id));
    }
    if roles.next().map(|next| next.id) != Some(target.id) {
        let tries = (!target.is_good()).then(new_tries);
        node.esp.add_entry(target.id, &title(&target.origin), &target.origin.uki, tries)?;
    }
    Ok(target)
}

/// Declares the running boot good: its entry is no longer counted.
///
/// # Errors
/// When the loader did not say what it booted, or the ESP cannot be written.
pub fn bless(node: &Node) -> Result<Option<DeploymentId>, DeployError> {
    let Some(booted) = &node.booted else { return Ok(None) };
    let (Some(identifier), Some(id)) = (&booted.entry, booted.deployment) else {
        return Ok(None);
    };
    let Some(origin) = node.origin(&id)? else {
        return Ok(None);
    };
    node.esp.bless(identifier, &title(&origin), &origin.uki)?;
    Ok(Some(id))
}

/// Gives back the try that this boot took, where it is on trial and boots next too: whoever reboots an orderly machine has
/// found no fault with it.
///
/// # Errors
/// When the ESP cannot be written.
pub fn give_try_back(node: &Node) -> Result<bool, DeployError> {
    let Some(booted) = &node.booted else { return Ok(false) };
    let (Some(identifier), Some(id)) = (&booted.entry, booted.deployment) else { return Ok(false) };
    let Some(origin) = node.origin(&id)? else { return Ok(false) };
    Ok(node.esp.give_back(identifier, &title(&origin), &origin.uki)?.is_some())
}

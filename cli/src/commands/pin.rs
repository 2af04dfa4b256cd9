//! `pin` and `unpin`.

use super::locked;
use crate::args::Deployment;

/// Keeps a deployment.
pub fn pin(args: &Deployment) -> anyhow::Result<()> {
    let (node, _lock) = locked("pin")?;
    let id = node.find(&args.deployment)?;
    node.pin(&id)?;
    println!("Deployment {id} is pinned.");
    Ok(())
}

/// Lets prune remove a deployment again.
pub fn unpin(args: &Deployment) -> anyhow::Result<()> {
    let (node, _lock) = locked("unpin")?;
    let id = node.find(&args.deployment)?;
    node.unpin(&id)?;
    println!("Deployment {id} is no longer pinned.");
    Ok(())
}

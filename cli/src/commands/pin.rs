//! `pin` and `unpin`.

use rocketos_deploy::Node;

use crate::args::Deployment;

/// Keeps a deployment.
pub fn pin(args: &Deployment) -> anyhow::Result<()> {
    let (node, _lock) = Node::locked("pin")?;
    let id = node.find(&args.deployment)?;
    node.pin(&id)?;
    println!("Deployment {id} is pinned.");
    Ok(())
}

/// Lets prune remove a deployment again.
pub fn unpin(args: &Deployment) -> anyhow::Result<()> {
    let (node, _lock) = Node::locked("unpin")?;
    let id = node.find(&args.deployment)?;
    node.unpin(&id)?;
    println!("Deployment {id} is no longer pinned.");
    Ok(())
}

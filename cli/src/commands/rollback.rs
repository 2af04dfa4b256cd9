//! `rollback`.

use rocketos_deploy::{Node, rollback};
use serde_json::json;

use crate::{adapters::systemctl, args::Rollback};

/// Makes the previous deployment, or the named one, boot next.
pub fn run(args: &Rollback) -> anyhow::Result<()> {
    let (node, lock) = Node::locked("rollback")?;
    let to = args.to.as_deref().map(|prefix| node.find(prefix)).transpose()?;
    let target = rollback(&node, to.as_ref())?;
    let running = node.booted_deployment() == Some(target.id);
    match (args.json, running) {
        (true, _) => println!("{}", json!({ "next": target.id, "running": running })),
        (false, true) => println!("Deployment {} runs and boots next.", target.id),
        (false, false) => println!("Deployment {} boots next.", target.id),
    }
    drop((node, lock));
    match args.apply && !running {
        true => systemctl::reboot(),
        false => Ok(()),
    }
}

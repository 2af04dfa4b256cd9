//! `prune`.

use std::path::Path;

use indicatif::HumanBytes;
use rocketos_deploy::{Node, Pruned, prune};
use rocketos_model::layout;
use serde_json::json;

use crate::{args::Prune, host_containers};

/// Removes what nobody needs.
pub fn run(args: &Prune) -> anyhow::Result<()> {
    let (node, _lock) = Node::locked("prune")?;
    if !args.dry_run {
        host_containers::forget_absent(&node, Path::new(layout::node::HOST_CONTAINERS))?;
    }
    let pruned = prune(&node, args.dry_run)?;
    if args.json {
        println!(
            "{}",
            json!({
                "dryRun": args.dry_run,
                "deployments": pruned.deployments,
                "objects": pruned.collected.objects,
                "bytes": pruned.collected.bytes,
            })
        );
    } else if args.dry_run {
        println!("Would remove:");
        report(&pruned);
    } else {
        report(&pruned);
    }
    Ok(())
}

/// Says what went.
pub fn report(pruned: &Pruned) {
    for id in &pruned.deployments {
        println!("Removed deployment {id}.");
    }
    println!("Removed {} objects, {}.", pruned.collected.objects, HumanBytes(pruned.collected.bytes));
}

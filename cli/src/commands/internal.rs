//! What units run.

use indicatif::HumanBytes;
use rocketos_deploy::{Node, bless, grow_root, prune};

use crate::args::Internal;

/// Runs it.
pub fn run(verb: &Internal) -> anyhow::Result<()> {
    match verb {
        Internal::Bless => {
            let (node, _lock) = Node::locked("bless")?;
            match bless(&node)? {
                Some(id) => println!("Deployment {id} is good."),
                None => println!("The loader did not say what it booted; nothing is blessed."),
            }
            // Only what has proved itself may push out what came before.
            let pruned = prune(&node, false)?;
            super::prune::report(&pruned);
            Ok(())
        }
        Internal::Grow => {
            println!("The root file system has {}.", HumanBytes(grow_root()?));
            Ok(())
        }
    }
}

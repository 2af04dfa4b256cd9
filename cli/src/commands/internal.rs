//! What units run.

use indicatif::HumanBytes;
use rocketos_deploy::{Node, bless, grow_root, prune};

use super::follow;
use crate::{
    args::{Internal, Progress},
    automatic::{self, Looked},
    output::Reporter,
};

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
        Internal::Update => update(),
        Internal::WatchVerity => crate::watch::run(),
        Internal::Grow => {
            println!("The root file system has {}.", HumanBytes(grow_root()?));
            Ok(())
        }
    }
}

/// What the timer runs; what it prints is for the journal.
fn update() -> anyhow::Result<()> {
    let reporter = Reporter::new(&Progress { quiet: false, progress_fd: None })?;
    match automatic::look(&reporter)? {
        Looked::Off => println!("Updates by itself are off (update.toml)."),
        Looked::Stayed(advanced) => follow::end(false, &advanced)?,
        Looked::Rebooting(advanced) => {
            follow::end(false, &advanced)?;
            println!("Rebooting.");
        }
        Looked::Waits(advanced, reason) => {
            follow::end(false, &advanced)?;
            println!("The reboot waits: {reason}.");
        }
    }
    Ok(())
}

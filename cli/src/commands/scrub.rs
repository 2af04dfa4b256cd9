//! `scrub`.

use std::{fs, num::NonZeroU64};

use rocketos_deploy::Node;
use rocketos_model::layout;
use rocketos_oci::ReaderConfig;
use rocketos_store::Scrubbed;

use crate::{
    adapters::systemctl,
    args::{Progress, Scrub},
    exit::Damaged,
    journal,
    output::Reporter,
    scrub::{Outcome, Wish, scrub},
};

/// Bytes of a MiB, in which rates are given.
const MIB: u64 = 1 << 20;

/// Reads the store again, and mends it.
pub fn run(args: &Scrub) -> anyhow::Result<()> {
    let (node, lock) = Node::to_scrub()?;
    // Whoever saw damage wants all of it looked at, not what a run that was cut off has left.
    if fs::remove_file(layout::node::SCRUB_ANEW).is_ok() {
        node.remember_scrub(&Scrubbed { damage: node.scrubbed()?.damage, ..Scrubbed::default() })?;
    }
    let reporter = Reporter::new(&Progress { quiet: args.json, progress_fd: None })?;
    let wish = Wish {
        repair: !args.no_repair,
        rate: NonZeroU64::new(args.rate.saturating_mul(MIB)),
        reader: ReaderConfig::system(),
    };
    let outcome = scrub(&node, &wish, &reporter)?;
    reporter.finish();
    match args.json {
        true => println!("{}", outcome.document()),
        false => print!("{}", outcome.in_words()),
    }
    tell_journal(&outcome);
    drop((node, lock));
    if args.apply && outcome.leave {
        return systemctl::reboot();
    }
    match outcome.left.len().max(outcome.damaged.len()) {
        0 => Ok(()),
        left => Err(Damaged { left }.into()),
    }
}

fn tell_journal(outcome: &Outcome) {
    if outcome.found.is_empty() {
        return;
    }
    let numbers = [outcome.found.len(), outcome.mended.len(), outcome.left.len()].map(|number| number.to_string());
    let fields = [
        ("ROCKETOS_DAMAGED", numbers[0].as_str()),
        ("ROCKETOS_MENDED", &numbers[1]),
        ("ROCKETOS_LEFT", &numbers[2]),
        ("ROCKETOS_REBOOT_NEEDED", if outcome.reboot_needed() { "1" } else { "0" }),
    ];
    let text = format!("{} damaged objects in the store, {} of them mended", numbers[0], numbers[1]);
    journal::say(journal::SCRUBBED, &text, &fields);
}

//! A machine that never ends: upgrades, rollbacks and prunes on one disk, and nothing grows.
//!
//! The file systems are in memory, so that what is free of them is counted by page and by inode.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{collections::BTreeSet, path::Path};

use rocketos_deploy::{Activation, bless, prune, rollback};
use rustix::fs::statvfs;
use support::{
    Machine,
    image::{Release, release},
};

/// Upgrades, every other one taken back.
const CYCLES: usize = 200;
/// Releases that take turns.
const RELEASES: [&str; 4] = ["1", "2", "3", "4"];
/// Cycles after which every release has been gone to twice, to come back from and to stay at, and everything is as it was.
const ROUND: usize = 2 * RELEASES.len();
/// Enough for three releases at once.
const SIZE: &str = "8m";

/// What has to be the same after each round.
#[derive(Debug, PartialEq, Eq)]
struct Numbers {
    /// Files and folders, the sequences of boot entries aside: they only grow.
    names: BTreeSet<String>,
    entries: usize,
    objects: usize,
    /// Of root partition and ESP.
    free: [(u64, u64); 2],
}

fn free(top: &Path) -> (u64, u64) {
    let stat = statvfs(top).unwrap();
    (stat.f_bfree, stat.f_ffree)
}

fn numbers(machine: &Machine) -> Numbers {
    let files = machine.files();
    let objects =
        files.iter().filter(|(name, content)| content.is_some() && name.starts_with("root/composefs/objects/"));
    Numbers {
        objects: objects.count(),
        entries: machine.entries().len(),
        names: files.into_keys().filter(|name| !name.starts_with("esp/loader/entries/")).collect(),
        free: [free(&machine.root()), free(&machine.esp())],
    }
}

/// Upgrades; then stays, or goes back.
fn cycle(machine: &mut Machine, to: &Release, stays: bool) {
    let from = machine.roles().booted.unwrap();
    machine.bring(to, Activation::Tried).unwrap();
    assert_eq!(machine.boot(), to.id());
    bless(&machine.node).unwrap();
    if !stays {
        assert_eq!(rollback(&machine.node, None).unwrap().id, from);
        assert_eq!(machine.boot(), from);
        bless(&machine.node).unwrap();
    }
    prune(&machine.node, false).unwrap();
    assert_eq!(machine.roles().next, Some(if stays { to.id() } else { from }));
    assert_eq!(machine.entries().len(), 2, "{:?}", machine.entries());
}

#[test]
fn two_hundred_upgrades_and_rollbacks_leave_nothing_behind() {
    let releases = RELEASES.map(release);
    let limits = [("size", SIZE)];
    let mut machine = Machine::new().running(&releases[0]).copy_to_memory(&limits, &limits);
    let mut first = None;
    for number in 0..CYCLES {
        let to = &releases[(number / 2 + 1) % releases.len()];
        cycle(&mut machine, to, number % 2 == 1);
        if (number + 1) % ROUND == 0 {
            let now = numbers(&machine);
            assert_eq!(&now, first.get_or_insert_with(|| numbers(&machine)), "after {} cycles", number + 1);
        }
    }
    let Numbers { entries, objects, free, .. } = first.unwrap();
    println!("{CYCLES} cycles: {entries} entries, {objects} objects, free blocks and inodes {free:?}");
}

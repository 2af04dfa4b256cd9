//! Full disks, one step at a time: wherever the room ends, what booted still boots and nothing is left behind.
//!
//! The file systems are tmpfs with limits on bytes or on inodes, so that the kernel itself says "no space left".
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rocketos_boot::BootError;
use rocketos_deploy::{Activation, DeployError, bless, prune, rollback, stage};
use support::{Machine, assert_same, chain, image::release, reference};

/// More inodes than any step here takes.
const MANY: usize = 400;

#[test]
fn a_full_esp_is_seen_before_anything_is_written() {
    let [first, second] = ["1", "2"].map(release);
    // Room for one kernel of some 200 KB and the reserve, not for two.
    let machine = Machine::with_esp(&[("size", "1400k")]).running(&first);
    let image = machine.pull(&second).unwrap();
    let before = machine.files();
    let error = stage(&machine.node, &image, &reference().into(), Activation::Tried).unwrap_err();
    assert!(matches!(error, DeployError::Boot(BootError::Full { .. })) && error.is_full(), "{error:?}");
    let message = chain(&error);
    for part in ["the ESP is full", "are needed for the kernel", "are free", "'rocketctl prune' may make room"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_same(&machine.files(), &before, "refused for lack of room");
    assert_eq!(machine.roles().next, Some(first.id()));
}

#[test]
fn the_esp_may_end_at_any_step() {
    let [first, second] = ["1", "2"].map(release);
    let mut failures = 0;
    for inodes in 1..MANY {
        let limits = inodes.to_string();
        let Some(machine) = Machine::try_with_esp(&[("nr_inodes", &limits)], &first) else { continue };
        let image = machine.pull(&second).unwrap();
        let esp = support::files_of_esp(&machine.esp());
        match stage(&machine.node, &image, &reference().into(), Activation::Tried) {
            Ok(_) => {
                assert!(failures >= 3, "only {failures} steps failed: the limits test nothing");
                return;
            }
            Err(error) => {
                assert!(error.is_full(), "{inodes} inodes: {error:?}");
                assert!(chain(&error).contains("on the ESP"), "{}", chain(&error));
                assert_eq!(machine.roles().next, Some(first.id()), "{inodes} inodes");
                prune(&machine.node, false).unwrap();
                assert_same(&support::files_of_esp(&machine.esp()), &esp, "the ESP, pruned");
                failures += 1;
            }
        }
    }
    panic!("{MANY} inodes are not enough");
}

#[test]
fn blessing_and_rolling_back_need_room_too() {
    let [first, second] = ["1", "2"].map(release);
    let mut machine = Machine::with_esp(&[("size", "8m")]).running(&first);
    machine.bring(&second, Activation::Tried).unwrap();
    machine.boot();
    let filler = machine.fill_esp();
    let before = machine.entries();
    for result in [bless(&machine.node).map(drop), rollback(&machine.node, None).map(drop)] {
        let error = result.unwrap_err();
        assert!(error.is_full(), "{error:?}");
        assert_eq!(machine.entries(), before, "the boot order is what it was");
    }
    std::fs::remove_file(filler).unwrap();
    bless(&machine.node).unwrap();
    assert_eq!(machine.roles().booted, Some(second.id()));
    assert!(!machine.entries()[0].contains('+'));
}

#[test]
fn the_root_may_end_at_any_byte() {
    let [first, second] = ["1", "2"].map(release);
    let whole = Machine::new().running(&first);
    whole.bring(&second, Activation::Tried).unwrap();
    let mut failures = 0;
    for pages in (1..).map(|step| step * 8) {
        let size = format!("{}", pages * 4096);
        let Some(machine) = Machine::try_with_root(&[("size", &size)], &first) else { continue };
        if is_whole(machine.bring(&second, Activation::Tried), &machine, &first) {
            assert!(failures >= 3, "only {failures} sizes failed: the limits test nothing");
            return;
        }
        failures += 1;
    }
}

#[test]
fn the_root_may_end_at_any_inode() {
    let [first, second] = ["1", "2"].map(release);
    let mut failures = 0;
    for inodes in 1..MANY {
        let Some(machine) = Machine::try_with_root(&[("nr_inodes", &inodes.to_string())], &first) else { continue };
        if is_whole(machine.bring(&second, Activation::Tried), &machine, &first) {
            assert!(failures >= 3, "only {failures} limits failed: they test nothing");
            return;
        }
        failures += 1;
    }
    panic!("{MANY} inodes are not enough");
}

/// True when it went well; otherwise checks that it failed as it must, and that prune takes back what was brought.
fn is_whole<T>(result: Result<T, DeployError>, machine: &Machine, first: &support::image::Release) -> bool {
    let Err(error) = result else { return true };
    assert!(error.is_full(), "{error:?}");
    let roles = machine.roles();
    assert_eq!((roles.booted, roles.next), (Some(first.id()), Some(first.id())));
    prune(&machine.node, false).unwrap();
    let fresh = Machine::new().running(first);
    let mut files = machine.files();
    let fresh = fresh.files();
    // An emptied folder of objects may stay.
    files.retain(|name, content| fresh.contains_key(name) || content.is_some());
    assert_same(&files, &fresh, "a failed upgrade, pruned");
    false
}

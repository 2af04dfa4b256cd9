//! A node's whole life on plain directories, and what must not happen in it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use rocketos_deploy::{Activation, DeployError, Lock, bless, prune, rollback, stage};
use support::{
    Machine, Shape, assert_same, chain,
    image::{Release, Seal, release, sealed},
    reference,
};

fn shape(booted: &Release, staged: Option<&Release>, rollback: Option<&Release>) -> Shape {
    let id = |release: &Release| release.id();
    Shape {
        booted: Some(id(booted)),
        staged: staged.map(id),
        rollback: rollback.map(id),
        next: Some(staged.map_or(id(booted), id)),
        others: Vec::new(),
    }
}

#[test]
fn a_third_release_prunes_the_first() {
    let [first, second, third] = ["1", "2", "3"].map(release);
    let mut machine = Machine::new().running(&first);
    assert_eq!(machine.roles(), shape(&first, None, None));

    for (old, new, rollback) in [(&first, &second, None), (&second, &third, Some(&first))] {
        machine.bring(new, Activation::Tried).unwrap();
        assert_eq!(machine.roles(), shape(old, Some(new), rollback));
        assert!(machine.entries()[0].ends_with("+3.conf"), "{:?}", machine.entries());
        assert_eq!(machine.boot(), new.id());
        assert!(machine.entries()[0].ends_with("+2-1.conf"), "{:?}", machine.entries());
        assert_eq!(bless(&machine.node).unwrap(), Some(new.id()));
        prune(&machine.node, false).unwrap();
        assert_eq!(machine.roles(), shape(new, None, Some(old)));
    }

    // What is left is what a machine has that never had the first.
    let mut other = Machine::new().running(&second);
    other.bring(&third, Activation::Tried).unwrap();
    other.boot();
    bless(&other.node).unwrap();
    let names = |machine: &Machine| -> BTreeSet<String> {
        let without_sequence = |name: &String| !name.contains("loader/entries/");
        // An emptied folder of objects may stay.
        let objects = machine
            .files()
            .into_iter()
            .filter(|(name, content)| content.is_some() || !name.starts_with("root/composefs/objects/"));
        objects.map(|(name, _)| name).filter(without_sequence).collect()
    };
    assert_eq!(names(&machine), names(&other));
    assert_eq!(machine.entries().len(), 2);
}

#[test]
fn staging_again_changes_nothing() {
    let [first, second] = ["1", "2"].map(release);
    let machine = Machine::new().running(&first);
    machine.bring(&second, Activation::Tried).unwrap();
    let before = machine.files();
    machine.bring(&second, Activation::Tried).unwrap();
    assert_same(&machine.files(), &before, "staged twice");
    prune(&machine.node, false).unwrap();
    assert_same(&machine.files(), &before, "nothing was to prune");
}

#[test]
fn rollback_goes_there_and_back() {
    let [first, second] = ["1", "2"].map(release);
    let mut machine = Machine::new().running(&first);
    machine.bring(&second, Activation::Tried).unwrap();
    machine.boot();
    bless(&machine.node).unwrap();

    assert_eq!(rollback(&machine.node, None).unwrap().id, first.id());
    let roles = machine.roles();
    assert_eq!((roles.booted, roles.next, roles.rollback), (Some(second.id()), Some(first.id()), Some(first.id())));
    assert_eq!(machine.entries().len(), 3, "one entry is added, none removed");
    assert!(!machine.entries()[0].contains('+'), "what was good is not tried: {:?}", machine.entries());
    assert_eq!(rollback(&machine.node, None).unwrap().id, second.id(), "again takes it back");
    assert_eq!(machine.roles(), shape(&second, None, Some(&first)));
    rollback(&machine.node, Some(&first.id())).unwrap();
    prune(&machine.node, false).unwrap();
    assert_eq!(machine.entries().len(), 2, "of several entries for one deployment the first stays");
    assert_eq!(machine.boot(), first.id());
    bless(&machine.node).unwrap();
    assert_eq!(machine.roles(), shape(&first, None, Some(&second)));
}

#[test]
fn there_is_nothing_to_roll_back_to_on_a_new_disk() {
    let first = release("1");
    let machine = Machine::new().running(&first);
    let before = machine.files();
    let error = rollback(&machine.node, None).unwrap_err();
    assert!(matches!(error, DeployError::NoRollback));
    assert!(chain(&error).contains("no deployment to roll back to"), "{}", chain(&error));
    rollback(&machine.node, Some(&first.id())).unwrap();
    assert_same(&machine.files(), &before, "a rollback to what boots next already");
}

#[test]
fn pinned_survives_until_unpinned() {
    let releases = ["1", "2", "3"].map(release);
    let mut machine = Machine::new().running(&releases[0]);
    machine.node.pin(&releases[0].id()).unwrap();
    for next in &releases[1..] {
        machine.bring(next, Activation::Tried).unwrap();
        machine.boot();
        bless(&machine.node).unwrap();
    }
    let before = machine.files();
    assert_eq!(prune(&machine.node, false).unwrap().deployments, []);
    assert_eq!(machine.roles().others, [releases[0].id()]);
    assert_same(&machine.files(), &before, "everything is kept");

    machine.node.unpin(&releases[0].id()).unwrap();
    machine.node.unpin(&releases[0].id()).unwrap();
    let planned = prune(&machine.node, true).unwrap();
    assert_eq!(planned.deployments, [releases[0].id()]);
    let removed = prune(&machine.node, false).unwrap();
    assert_eq!(removed.deployments, planned.deployments);
    assert_eq!(machine.roles(), shape(&releases[2], None, Some(&releases[1])));
    let left = machine.files();
    let id = releases[0].id().to_string();
    assert!(!left.keys().any(|name| name.contains(&id)), "its name is left somewhere");
}

#[test]
fn what_lost_its_name_is_not_pruned() {
    let machine = Machine::new().running(&release("1"));
    let image = machine.node.store.images().unwrap()[0];
    let before = machine.files();
    machine.node.store.remove_image(&image).unwrap();
    for dry_run in [true, false] {
        let error = prune(&machine.node, dry_run).unwrap_err();
        assert!(error.to_string().contains("rocketctl scrub"), "{error}");
    }
    machine.pull(&release("1")).unwrap();
    prune(&machine.node, false).unwrap();
    support::assert_same(&machine.files(), &before, "named again");
}

#[test]
fn downloaded_waits_until_it_is_activated() {
    let [first, second] = ["1", "2"].map(release);
    let mut machine = Machine::new().running(&first);
    machine.bring(&second, Activation::Later).unwrap();
    machine.node.set_downloaded(Some(&second.id())).unwrap();
    assert_eq!(machine.entries().len(), 1, "it has no entry");
    let before = machine.files();
    prune(&machine.node, false).unwrap();
    assert_same(&machine.files(), &before, "prune keeps what was downloaded");

    rollback(&machine.node, Some(&second.id())).unwrap();
    machine.node.set_downloaded(None).unwrap();
    assert_eq!(machine.node.downloaded().unwrap(), None);
    assert_eq!(machine.roles(), shape(&first, Some(&second), None));
    assert!(machine.entries()[0].ends_with("+3.conf"), "it is tried as any other: {:?}", machine.entries());
    assert_eq!(machine.boot(), second.id());
}

#[test]
fn a_release_that_never_comes_up_gives_way() {
    let [first, second] = ["1", "2"].map(release);
    let mut machine = Machine::new().running(&first);
    machine.bring(&second, Activation::Tried).unwrap();
    for _ in 0..3 {
        assert_eq!(machine.boot(), second.id());
    }
    assert_eq!(machine.boot(), first.id(), "the tries ran out: {:?}", machine.entries());
    assert_eq!(bless(&machine.node).unwrap(), Some(first.id()));
    let roles = machine.roles();
    assert_eq!((roles.booted, roles.next, roles.staged), (Some(first.id()), Some(first.id()), None));
    assert_eq!(roles.rollback, None, "what failed is nothing to go back to");
    assert_eq!(roles.others, [second.id()]);
    // Somebody who insists gets new tries.
    rollback(&machine.node, Some(&second.id())).unwrap();
    assert!(machine.entries()[0].ends_with("+3.conf"), "{:?}", machine.entries());
    assert_eq!(machine.roles().staged, Some(second.id()));
}

#[test]
fn an_image_whose_kernel_is_not_its_own_is_refused() {
    for (seal, expected) in [
        (Seal::Other, "sealed for composefs digest abab"),
        (Seal::Absent, "the image's kernel is not sealed"),
        (Seal::NoUki, "the image's kernel is not sealed: not a 64-bit PE file"),
    ] {
        let first = release("1");
        let machine = Machine::new().running(&first);
        prune(&machine.node, false).unwrap();
        let before_pull = machine.files();
        let bad = sealed("2", seal);
        let image = machine.pull(&bad).unwrap();
        let before = machine.files();
        let error = stage(&machine.node, &image, &reference().into(), Activation::Tried).unwrap_err();
        let message = chain(&error);
        assert!(message.contains(expected), "{seal:?}: {message}");
        assert_same(&machine.files(), &before, "a refused image changed something");
        assert_eq!(machine.roles(), shape(&first, None, None));
        prune(&machine.node, false).unwrap();
        let mut after = machine.files();
        after.retain(|name, content| before_pull.contains_key(name) || content.is_some());
        assert_same(&after, &before_pull, "prune left something of a refused image");
    }
}

#[test]
fn the_lock_of_a_node_keeps_a_second_away() {
    let machine = Machine::new();
    let lock = Lock::take(&machine.root(), "upgrade").unwrap();
    let error = Lock::take(&machine.root(), "rollback").unwrap_err();
    let expected = format!("another rocketctl is at work: process {} (upgrade)", std::process::id());
    assert!(chain(&error).starts_with(&expected), "{}", chain(&error));
    drop(lock);
    Lock::take(&machine.root(), "rollback").unwrap();
}

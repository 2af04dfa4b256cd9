//! Sudden death before each change to a file system: strace kills a process that works on a node at its Nth system call
//! that changes a directory or waits for the disk, for every N. What is on the disk then must boot, and the same
//! command run again must come to what it would have come to.
//!
//! A kill keeps what was written; what a power cut loses besides is for the tests of machines.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    env, fs,
    io::Cursor,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use rocketos_boot::uki;
use rocketos_deploy::{Activation, DeployError, Node, bless, prune, rollback, stage};
use rocketos_model::{Booted, cmdline};
use rocketos_store::{Scrubbed, StoreError, Verity};
use support::{Closed, Machine, assert_same, image::release, reference};

/// Says to the child what to do, on which root partition, on which ESP, having booted what.
const CHILD: [&str; 4] = ["ROCKETOS_CRASH_VERB", "ROCKETOS_CRASH_ROOT", "ROCKETOS_CRASH_ESP", "ROCKETOS_CRASH_BOOTED"];
/// The system calls that a process may die at; one and the same is made in several ways.
const CALLS: [&str; 6] = ["/^rename", "/^link", "/^unlink", "/^mkdir", "fsync,fdatasync", "syncfs"];
/// What becomes of a write that is not killed: refused, interrupted, or nothing of it is taken.
const FAULTS: [&str; 3] = ["error=EIO", "error=EINTR", "retval=0"];
/// More calls of one kind than any command makes.
const MANY: u32 = 2000;

/// Carries out one command on a node.
fn act(verb: &str, node: &Node) {
    match verb {
        "stage" => {
            let images = node.store.images().unwrap();
            let known = node.deployments().unwrap();
            // On a second run it is known already; the newest is then the one without a good entry.
            let good = node.booted_deployment().unwrap();
            let new = images.iter().find(|image| image.deployment() != good && !is_old(node, image)).unwrap();
            assert!(known.len() <= 3);
            let image = node.store.open_image(new).unwrap().unwrap();
            stage(node, &image, &reference().into(), Activation::Tried).map(drop).unwrap();
        }
        "bless" => bless(node).map(drop).unwrap(),
        // A person who does not know whether it went through says where to.
        "rollback" => {
            let booted = node.booted_deployment().unwrap();
            let other = node.deployments().unwrap().into_iter().find(|id| *id != booted).unwrap();
            rollback(node, Some(&other)).map(drop).unwrap();
        }
        "prune" => prune(node, false).map(drop).unwrap(),
        "pull" => {
            let release = release("2");
            for (id, tar) in &release.layers {
                node.store.import_layer(id, &mut Cursor::new(tar)).unwrap();
            }
            node.store.commit_image(&release.manifest, &release.config).map(drop).unwrap();
        }
        "mend" => mend(node),
        other => panic!("'{other}' is no command"),
    }
}

/// What `scrub` does, with every layer at hand.
fn mend(node: &Node) {
    let release = release("1");
    let damage = node.store.scrub(Scrubbed::default(), None, &mut ()).unwrap().damage;
    let mender = node.store.mender(&damage).unwrap();
    mender.mend_by_itself().unwrap();
    let contents = node.store.contents(&release.digest, &release.composefs, &mender.left()).unwrap();
    for (id, tar) in release.layers.iter().filter(|(id, _)| contents.wanting.contains(id)) {
        mender.import_layer(id, &mut Cursor::new(tar)).unwrap();
    }
    mender.commit_image(&release.manifest, &release.config).map(drop).unwrap();
}

fn is_old(node: &Node, image: &rocketos_model::ManifestDigest) -> bool {
    let entries = node.esp.entries().unwrap();
    entries.iter().any(|entry| entry.name.deployment == image.deployment() && entry.is_good())
}

#[test]
#[ignore = "runs only as the process that the other tests here kill"]
fn child() {
    let Ok(verb) = env::var(CHILD[0]) else { return };
    let [root, esp, booted] = [CHILD[1], CHILD[2], CHILD[3]].map(|name| env::var(name).unwrap());
    let booted = Booted::from_toml(&booted).unwrap();
    let node = Node::at(Path::new(&root), Path::new(&esp), Verity::Optional, Some(booted)).unwrap();
    act(&verb, &node);
}

/// Runs a command in a process that dies before its Nth call of a kind; true when it came to its end before.
///
/// The machine is closed meanwhile: an open store keeps others from pruning it.
fn survives(verb: &str, machine: &Closed, call: &str, at: u32) -> bool {
    let outcome = traced(verb, machine, call, &format!("signal=KILL:when={at}"), Path::new("/dev/null"));
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned() + &String::from_utf8_lossy(&outcome.stderr);
    let killed = outcome.status.signal() == Some(9) || outcome.status.code() == Some(128 + 9);
    assert!(killed || outcome.status.success(), "{verb}, {call} {at}: {}: {said}", outcome.status);
    !killed
}

/// Runs a command in a process to which `fault` happens at calls of a kind; strace writes to `log`.
fn traced(verb: &str, machine: &Closed, call: &str, fault: &str, log: &Path) -> Output {
    let booted = machine.booted.to_toml();
    let [root, esp] = [machine.root(), machine.esp()].map(|path| path.display().to_string());
    Command::new("strace")
        .args(["-f", "-qqq", "-e", "signal=none", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:{fault}"), "-o"])
        .arg(log)
        .arg(env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--test-threads=1"])
        .envs([(CHILD[0], verb), (CHILD[1], &root), (CHILD[2], &esp), (CHILD[3], &booted)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .expect("this test needs the program strace: 'apt-get install strace'")
}

/// What boots next has an origin, and a whole kernel that is sealed for an image that the store has.
fn boots(machine: &Machine, when: &str) {
    let entries = machine.node.esp.entries().unwrap();
    let first = entries.iter().find(|entry| entry.name.bootable()).unwrap();
    let id = first.name.deployment;
    let origin = machine.node.origin(&id).unwrap().unwrap_or_else(|| panic!("{when}: {id} has no origin"));
    let kernel = machine.node.esp.read_uki(&id, &origin.uki).unwrap();
    assert_eq!(cmdline::digest(&uki::cmdline(&kernel).unwrap()).unwrap(), origin.composefs_digest);
    assert!(machine.node.store.open_image(&origin.manifest_digest).unwrap().is_some(), "{when}: no image");
    assert_eq!(machine.node.store.check_image(&origin.composefs_digest).unwrap().bad, [], "{when}");
}

/// Kills a command at each of its steps, of which it has at least so many, on copies of a machine.
fn dies_anywhere(verb: &str, at_least: u32, machine: &Machine) {
    let strace = Command::new("strace").arg("--version").stdout(Stdio::null()).status();
    assert!(strace.is_ok(), "this test needs the program strace: 'apt-get install strace'");
    let whole = machine.copy();
    act(verb, &whole.node);
    let expected = whole.files();
    let mut deaths = 0;
    let mut died = Vec::new();
    for call in CALLS {
        for at in 1..MANY {
            let closed = machine.copy().close();
            if survives(verb, &closed, call, at) {
                break;
            }
            let machine = closed.open();
            deaths += 1;
            died.push((call, at));
            let when = format!("{verb}, killed at {call} {at}");
            boots(&machine, &when);
            act(verb, &machine.node);
            // What an interrupted write left is for prune.
            remove_unfinished(&machine);
            let mut files = machine.files();
            files.retain(|name, content| expected.contains_key(name) || content.is_some());
            assert_same(&files, &expected, &format!("{when}, then run again"));
        }
    }
    assert!(deaths >= at_least, "{verb} died {deaths} times only: {died:?}");
}

/// Half-written files have a name of their own, which nothing reads.
fn remove_unfinished(machine: &Machine) {
    machine.node.esp.tidy().unwrap();
    for (name, _) in machine.files() {
        if let Some(relative) = name.strip_prefix("root/").filter(|name| name.ends_with(".unfinished")) {
            fs::remove_file(machine.root().join(relative)).unwrap();
        }
    }
}

#[test]
fn staging_may_die_anywhere() {
    let [first, second] = ["1", "2"].map(release);
    let machine = Machine::new().running(&first);
    machine.pull(&second).unwrap();
    dies_anywhere("stage", 8, &machine);
}

#[test]
fn blessing_may_die_anywhere() {
    let [first, second] = ["1", "2"].map(release);
    let mut machine = Machine::new().running(&first);
    machine.bring(&second, Activation::Tried).unwrap();
    machine.boot();
    dies_anywhere("bless", 5, &machine);
}

fn two_good() -> Machine {
    let [first, second] = ["1", "2"].map(release);
    let mut machine = Machine::new().running(&first);
    machine.bring(&second, Activation::Tried).unwrap();
    machine.boot();
    bless(&machine.node).unwrap();
    machine
}

#[test]
fn rolling_back_may_die_anywhere() {
    dies_anywhere("rollback", 4, &two_good());
}

#[test]
fn a_pull_that_dies_anywhere_keeps_no_prune_away() {
    let machine = Machine::new().running(&release("1"));
    let expected = machine.files();
    let mut deaths = 0;
    for call in CALLS {
        for at in 1..MANY {
            let closed = machine.copy().close();
            if survives("pull", &closed, call, at) {
                break;
            }
            let machine = closed.open();
            deaths += 1;
            let when = format!("pull, killed at {call} {at}");
            prune(&machine.node, false).unwrap_or_else(|error| panic!("{when}: {error}"));
            boots(&machine, &when);
            let mut files = machine.files();
            files.retain(|name, content| expected.contains_key(name) || content.is_some());
            assert_same(&files, &expected, &when);
        }
    }
    assert!(deaths >= 20, "{deaths}");
}

#[test]
fn a_mending_that_dies_anywhere_loses_nothing_to_a_prune() {
    let one = release("1");
    let machine = Machine::new().running(&one);
    let expected = machine.files();
    let store = machine.root().join("composefs");
    let list = fs::canonicalize(store.join("streams").join(format!("oci-layer-{}", one.layers[0].0))).unwrap();
    let image = fs::canonicalize(store.join("images").join(one.composefs.to_hex())).unwrap();
    for bad in [list, image] {
        fs::write(bad, b"spoilt").unwrap();
    }
    let mut deaths = 0;
    for call in CALLS {
        for at in 1..MANY {
            let closed = machine.copy().close();
            if survives("mend", &closed, call, at) {
                break;
            }
            let machine = closed.open();
            deaths += 1;
            let when = format!("mend, killed at {call} {at}");
            match prune(&machine.node, false) {
                Ok(_) | Err(DeployError::Store(StoreError::Unlisted(_))) => {}
                Err(error) => panic!("{when}: {error}"),
            }
            mend(&machine.node);
            prune(&machine.node, false).unwrap_or_else(|error| panic!("{when}: {error}"));
            let mut files = machine.files();
            files.retain(|name, content| expected.contains_key(name) || content.is_some());
            assert_same(&files, &expected, &when);
        }
    }
    assert!(deaths >= 10, "{deaths}");
}

#[test]
fn pruning_may_die_anywhere() {
    let mut machine = two_good();
    machine.bring(&release("3"), Activation::Tried).unwrap();
    machine.boot();
    bless(&machine.node).unwrap();
    dies_anywhere("prune", 15, &machine);
}

/// Has each write of a command fail in turn: a kernel and a layer that are short are never taken for whole.
fn fails_at_any_write(verb: &str, machine: &Machine) {
    let whole = machine.copy();
    act(verb, &whole.node);
    let expected = whole.files();
    let log = tempfile::NamedTempFile::new().unwrap();
    for fault in FAULTS {
        let mut failures = 0;
        for at in 1..MANY {
            let closed = machine.copy().close();
            traced(verb, &closed, "write,pwrite64", &format!("{fault}:when={at}"), log.path());
            if !fs::read_to_string(log.path()).unwrap().contains("(INJECTED)") {
                break;
            }
            let machine = closed.open();
            failures += 1;
            let when = format!("{verb}, {fault} at write {at}");
            boots(&machine, &when);
            act(verb, &machine.node);
            remove_unfinished(&machine);
            let mut files = machine.files();
            files.retain(|name, content| expected.contains_key(name) || content.is_some());
            assert_same(&files, &expected, &format!("{when}, then run again"));
        }
        assert!(failures >= 4, "{verb}, {fault}: {failures} writes only");
    }
}

#[test]
fn staging_may_fail_at_any_write() {
    let [first, second] = ["1", "2"].map(release);
    let machine = Machine::new().running(&first);
    machine.pull(&second).unwrap();
    fails_at_any_write("stage", &machine);
}

#[test]
fn a_pull_may_fail_at_any_write() {
    fails_at_any_write("pull", &Machine::new().running(&release("1")));
}

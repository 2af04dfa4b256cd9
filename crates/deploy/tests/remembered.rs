//! What outlives deployments: a channel's memory, what a deployment follows, the reboot lock's mark.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rocketos_deploy::{Activation, DeployError, FAILURES, Failure, Verdict, bless, follow, prune, roles, rollback};
use rocketos_model::{Follow, Followed, ManifestDigest, Place, layout};
use support::{Machine, image::release, reference};

fn place() -> Place {
    "https://releases.example/os".parse().unwrap()
}

fn channel() -> Followed {
    Followed { name: "stable".to_owned(), from: place() }
}

#[test]
fn what_is_remembered_survives_upgrade_rollback_and_prune() {
    let [first, second] = ["1", "2"].map(release);
    let mut machine = Machine::new().running(&first);
    let remembered = machine.node.remembered(&place());
    assert_eq!(remembered.accepted("stable").unwrap(), None);
    remembered.keep_accepted("stable", "2").unwrap();
    remembered.keep_document("stable", "{}").unwrap();
    remembered.keep_policy(Some("# mine")).unwrap();
    machine.bring(&second, Activation::Tried).unwrap();
    machine.boot();
    bless(&machine.node).unwrap();
    prune(&machine.node, false).unwrap();
    rollback(&machine.node, None).unwrap();
    machine.boot();
    prune(&machine.node, false).unwrap();
    let remembered = machine.node.remembered(&place());
    assert_eq!(remembered.accepted("stable").unwrap().as_deref(), Some("2"));
    assert_eq!(remembered.document("stable").unwrap().as_deref(), Some("{}"));
    assert_eq!(remembered.policy().unwrap().as_deref(), Some("# mine"));
    assert_eq!(remembered.accepted("other").unwrap(), None);
    remembered.keep_policy(None).unwrap();
    assert_eq!(remembered.policy().unwrap(), None);
    assert_eq!(machine.node.remembered(&"dir:/srv".parse().unwrap()).policy().unwrap(), None);
    // People find out whose memory it is.
    let named = machine.node.root.join(layout::trust_dir(&place())).join(layout::trust::PLACE);
    assert_eq!(std::fs::read_to_string(named).unwrap(), "https://releases.example/os\n");
}

#[test]
fn another_root_ends_what_the_one_before_vouched_for() {
    let machine = Machine::new().running(&release("1"));
    let remembered = machine.node.remembered(&place());
    remembered.keep_root("one").unwrap();
    remembered.keep_policy(Some("# mine")).unwrap();
    remembered.keep_root("one").unwrap();
    assert!(remembered.policy().unwrap().is_some(), "the same root says nothing new");
    remembered.keep_root("two").unwrap();
    assert_eq!((remembered.root().unwrap().as_deref(), remembered.policy().unwrap()), (Some("two"), None));
}

#[test]
fn a_deployment_follows_what_it_is_told_to() {
    let (first, second) = (release("1"), release("2"));
    let machine = Machine::new().running(&first);
    let before = machine.node.origin(&first.id()).unwrap().unwrap();
    assert_eq!(before.follow(), Follow::from(reference()));
    let new = Follow { image: reference(), channel: Some(channel()) };
    follow(&machine.node, &first.id(), &new).unwrap();
    let after = machine.node.origin(&first.id()).unwrap().unwrap();
    assert_eq!(after.follow(), new);
    assert_eq!(rocketos_model::Origin { channel: None, ..after }, before);
    let error = follow(&machine.node, &second.id(), &new).unwrap_err();
    assert!(matches!(error, DeployError::Unknown { .. }), "{error}");
}

#[test]
fn the_mark_of_the_reboot_lock_stays_until_it_is_taken_away() {
    let machine = Machine::new().running(&release("1"));
    assert!(!machine.node.may_hold_reboot_lock().unwrap());
    for _ in 0..2 {
        machine.node.mark_reboot_lock(true).unwrap();
        assert!(machine.node.may_hold_reboot_lock().unwrap());
    }
    for _ in 0..2 {
        machine.node.mark_reboot_lock(false).unwrap();
        assert!(!machine.node.may_hold_reboot_lock().unwrap());
    }
}

#[test]
fn failures_outlive_their_deployments_and_verdicts_do_not() {
    let [first, second] = ["1", "2"].map(release);
    let machine = Machine::new().running(&first);
    machine.bring(&second, Activation::Tried).unwrap();
    let failure = |when: &str, digest: ManifestDigest| Failure {
        manifest_digest: digest,
        version: Some("2".to_owned()),
        when: when.to_owned(),
        reason: "it fell ill".to_owned(),
    };
    let digest = machine.node.origin(&second.id()).unwrap().unwrap().manifest_digest;
    let bad = Verdict { good: false, when: "2026-01-02".to_owned(), reason: Some("it fell ill".to_owned()) };
    machine.node.record_failure(&failure("2026-01-02", digest)).unwrap();
    machine.node.keep_verdict(&second.id(), &bad).unwrap();
    assert_eq!(machine.node.verdict(&second.id()).unwrap(), Some(bad));
    assert_eq!(machine.node.verdict(&first.id()).unwrap(), None);
    rollback(&machine.node, Some(&first.id())).unwrap();
    prune(&machine.node, false).unwrap();
    assert_eq!(machine.node.verdict(&second.id()).unwrap(), None);
    assert_eq!(machine.node.failures().unwrap(), [failure("2026-01-02", digest)]);
    // Bounded, the oldest go; what does not parse is no reason to stop.
    std::fs::write(machine.node.root.join(layout::root::FAILED).join("junk"), "junk").unwrap();
    for number in 0..FAILURES as u8 {
        let other = ManifestDigest::from_bytes([number; 32]);
        machine.node.record_failure(&failure(&format!("2026-02-{number:03}"), other)).unwrap();
    }
    let all = machine.node.failures().unwrap();
    assert!(all.len() == FAILURES && all.iter().all(|failure| failure.manifest_digest != digest));
    assert!(all.is_sorted_by(|a, b| a.when >= b.when));
    for failure in all {
        machine.node.forget_failure(&failure.manifest_digest).unwrap();
    }
    assert!(machine.node.failures().unwrap().is_empty());
}

#[test]
fn a_release_has_failed_when_its_tries_are_used_up() {
    let [first, second] = ["1", "2"].map(release);
    let mut machine = Machine::new().running(&first);
    machine.bring(&second, Activation::Tried).unwrap();
    let failed = |machine: &Machine| -> Vec<bool> {
        roles(&machine.node).unwrap().all().map(rocketos_deploy::Deployment::has_failed).collect()
    };
    assert_eq!(failed(&machine), [false, false]);
    for _ in 0..3 {
        assert_eq!(machine.boot(), second.id());
    }
    assert_eq!(machine.boot(), first.id());
    assert_eq!(failed(&machine), [false, true]);
    // Staged anew, it has tries again.
    machine.bring(&second, Activation::Tried).unwrap();
    assert_eq!(failed(&machine), [false, false]);
}

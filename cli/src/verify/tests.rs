//! Every link of the chain, broken by itself.

use std::{fs, path::Path};

use openssl::pkey::PKey;
use rocketos_deploy::roles;
use rocketos_model::{ObjectId, layout};
use rocketos_trust::{PrivateKey, Signature, Subject, sign_bundle};

use super::*;
use crate::machine::{
    Machine,
    made::{Release, release},
};

const FROM: &str = "docker://127.0.0.1:1/os/test:1";

/// Nothing boots here: what is mounted and what the kernel was told are not this machine's.
fn machine(release: &Release) -> Machine {
    let mut machine = Machine::new(&[(release, FROM)]);
    machine.node.booted = None;
    machine
}

fn guard(machine: &Machine, policy: &str) -> Guard {
    let path = machine.folder.path().join("policy.toml");
    fs::write(&path, policy).unwrap();
    Guard::given_or(path.to_str(), Guard::of_node).unwrap()
}

fn unsigned(machine: &Machine) -> Guard {
    guard(machine, "[default]\naccept = 'unsigned'\n")
}

fn check(machine: &Machine, guard: &Guard, full: bool) -> Verified {
    let roles = roles(&machine.node).unwrap();
    verify(&machine.node, roles.all().next().unwrap(), guard, Wish { full, offline: true })
}

/// Names of what did not pass.
fn broken(machine: &Machine, full: bool) -> Vec<&'static str> {
    check(machine, &unsigned(machine), full).names(|finding| !matches!(finding, Finding::Passed(_)))
}

#[test]
fn a_whole_deployment_passes() {
    let machine = machine(&release("one"));
    let verified = check(&machine, &unsigned(&machine), true);
    assert_eq!(verified.word(), "passed", "{verified:?}");
    assert_eq!(verified.checks.len(), 7);
}

#[test]
fn each_broken_link_is_named() {
    let one = release("one");
    let image = ObjectId::from_bytes(*one.composefs.as_bytes());
    let kernel = |machine: &Machine| {
        machine.node.root.parent().unwrap().join("esp").join(layout::uki_dir(&one.id())).join("6.12.0.efi")
    };
    let entry = |machine: &Machine| {
        let folder = machine.node.esp.top().join(layout::esp::ENTRIES);
        fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    };
    type Break<'a> = &'a dyn Fn(&Machine);
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let spoil = |machine: &Machine, content: &[u8]| {
        machine.spoil(content);
    };
    let cases: [(Break<'_>, &[&str]); 7] = [
        (&|machine| spoil(machine, &one.manifest), &["signature", "manifest", "composefs", "kernel"]),
        (&|machine| spoil(machine, &one.config), &["signature", "manifest", "composefs", "kernel"]),
        (&|machine| flip(&machine.object(&image)), &["image"]),
        (&|machine| flip(&kernel(machine)), &["kernel"]),
        (&|machine| fs::remove_file(kernel(machine)).unwrap(), &["kernel"]),
        (&|machine| fs::write(entry(machine), "title x\nefi /EFI/other.efi\n").unwrap(), &["entries"]),
        (&|machine| fs::remove_file(entry(machine)).unwrap(), &["entries"]),
    ];
    for (number, (breaks, expected)) in cases.into_iter().enumerate() {
        let machine = machine(&one);
        breaks(&machine);
        assert_eq!(broken(&machine, false), expected, "case {number}");
    }
}

#[test]
fn a_file_is_read_only_when_that_is_asked_for() {
    let machine = machine(&release("one"));
    machine.spoil(&b"one".iter().copied().cycle().take(50_000).collect::<Vec<_>>());
    assert!(broken(&machine, false).is_empty());
    assert_eq!(broken(&machine, true), ["objects"]);
}

#[test]
fn signatures_that_were_kept_need_no_network() {
    let one = release("one");
    let machine = machine(&one);
    let key = PKey::generate_ed25519().unwrap();
    let pem = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
    let signed = format!("[key.k]\npem = '''\n{pem}'''\n[default]\naccept = 'signed'\nkeys = ['k']\n");
    let trusting = guard(&machine, &signed);
    // Nothing was kept: that is no pass.
    assert_eq!(
        check(&machine, &trusting, false).names(|finding| matches!(finding, Finding::NotAsked(_))),
        ["signature"]
    );
    assert_eq!(check(&machine, &trusting, false).word(), "unasked");

    let private = PrivateKey::from_pem("k", &key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let subject = Subject::of(&one.manifest);
    let signatures = [Signature::bundle("here", sign_bundle(&subject, &private).unwrap())];
    let verdict = rocketos_trust::judge(&trusting.policy, &FROM.parse().unwrap(), &subject, &signatures);
    let kept = Kept::of(&verdict, &signatures, &[]);
    let judged = Judged { verdict, manifest: one.digest, kept: Some(kept) };
    judged.keep(&machine.node).unwrap();
    assert_eq!(check(&machine, &trusting, true).word(), "passed");

    // Of another image, by another key, or by no policy any more.
    let other = release("two");
    let subject = Subject::of(&other.manifest);
    let foreign = [Signature::bundle("here", sign_bundle(&subject, &private).unwrap())];
    let verdict = rocketos_trust::judge(&trusting.policy, &FROM.parse().unwrap(), &subject, &foreign);
    let kept = Kept::of(&verdict, &foreign, &[]);
    Judged { verdict, manifest: one.digest, kept: Some(kept) }.keep(&machine.node).unwrap();
    assert_eq!(check(&machine, &trusting, false).word(), "refused");
    judged.keep(&machine.node).unwrap();
    for policy in [String::new(), "[default]\naccept = 'nothing'\n".to_owned(), signed.replace(&pem, &another())] {
        let verified = check(&machine, &guard(&machine, &policy), false);
        assert_eq!(verified.word(), "refused", "{policy}: {verified:?}");
        assert!(verified.judged.unwrap().verdict.require().is_err());
    }
    machine.node.keep_signatures(&one.id(), "junk").unwrap();
    assert_eq!(check(&machine, &trusting, false).word(), "unasked");
}

fn another() -> String {
    String::from_utf8(PKey::generate_ed25519().unwrap().public_key_to_pem().unwrap()).unwrap()
}

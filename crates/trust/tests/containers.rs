//! containers-policy.json(5): what maps exactly, and what is refused by its name.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{error::Error, fs};

use rocketos_trust::{Outcome, Policy, Signature, Verdict, policy::CONTAINERS_POLICY};
use serde_json::{Value, json};
use support::{bytes, signatures, text, verdict_on};

/// Debian's and Fedora's default.
const ACCEPT: &str = "insecureAcceptAnything";

fn read(policy: &str) -> Result<Policy, String> {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(CONTAINERS_POLICY);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, policy).unwrap();
    fs::create_dir_all(root.path().join("etc/pki")).unwrap();
    for key in ["ecdsa", "rsa", "ed25519"] {
        fs::write(root.path().join(format!("etc/pki/{key}.pub")), text(&format!("keys/{key}.pub"))).unwrap();
    }
    Policy::read(root.path()).map_err(|error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

/// Rejects by default, and has these scopes of `docker`.
fn docker(scopes: Value) -> Policy {
    read(&json!({"default": [{"type": "reject"}], "transports": {"docker": scopes}}).to_string()).unwrap()
}

/// `sigstoreSigned` by a key, with more fields.
fn signed(key: &str, more: Value) -> Value {
    let mut requirement = json!({"type": "sigstoreSigned", "keyPath": format!("/etc/pki/{key}.pub")});
    requirement.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    requirement
}

fn repository() -> Value {
    json!({"signedIdentity": {"type": "matchRepository"}})
}

fn judged(policy: &Policy, reference: &str) -> Verdict {
    verdict_on(policy, reference, "one", &signatures("cosign2/ecdsa"))
}

#[test]
fn maps_accept_reject_and_scopes() {
    let accept = json!([{"type": ACCEPT}]);
    let reject = json!([{"type": "reject"}]);
    let policy = json!({
        "default": reject,
        "transports": {
            "docker": {
                "a.b": accept, "a.b/c": reject, "a.b/c/d": accept, "a.b/t:1": accept,
                "*.wild.test": accept, "x.wild.test": reject, "p.q:5000": accept,
            },
            "oci": {"/media": accept},
            "oci-archive": {"": accept},
            "docker-daemon": {"": accept},
        },
    });
    let policy = read(&policy.to_string()).unwrap();
    for (reference, expected) in [
        ("docker://a.b/x", Outcome::Unsigned),
        ("docker://a.b/c", Outcome::Refused),
        ("docker://a.b/c/e", Outcome::Refused),
        ("docker://a.b/c/d/e", Outcome::Unsigned),
        ("docker://a.b/cc", Outcome::Unsigned),
        ("docker://a.bb/c", Outcome::Refused),
        ("docker://q.wild.test/c", Outcome::Unsigned),
        ("docker://q.r.wild.test:80/c", Outcome::Unsigned),
        ("docker://x.wild.test/c", Outcome::Refused),
        ("docker://wild.test/c", Outcome::Refused),
        ("docker://notwild.test/c", Outcome::Refused),
        ("docker://p.q:5000/c", Outcome::Unsigned),
        ("docker://p.q/c", Outcome::Refused),
        ("oci:/media/usb", Outcome::Unsigned),
        ("oci:/mediate", Outcome::Refused),
        ("oci-archive:/anywhere", Outcome::Unsigned),
        ("containers-storage:localhost/x", Outcome::Refused),
    ] {
        assert_eq!(judged(&policy, reference).outcome, expected, "{reference}");
    }
    let fallen = judged(&policy, "containers-storage:localhost/x").rule.unwrap();
    assert_eq!(fallen.entry, "default");
    let one_tag = docker(json!({"a.b/t:1": accept, "a.b/l:latest": accept}));
    for (reference, expected) in [
        ("docker://a.b/t:1", Outcome::Unsigned),
        ("docker://a.b/t:2", Outcome::Refused),
        ("docker://a.b/t", Outcome::Refused),
        ("docker://a.b/l", Outcome::Unsigned),
    ] {
        assert_eq!(judged(&one_tag, reference).outcome, expected, "{reference}");
    }
}

#[test]
fn maps_sigstore_keys_in_all_four_fields() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let data = |key: &str| STANDARD.encode(bytes(&format!("keys/{key}.pub")));
    for (fields, expected) in [
        (json!({"keyPath": "/etc/pki/ecdsa.pub"}), Outcome::Signed),
        (json!({"keyPath": "/etc/pki/rsa.pub"}), Outcome::Refused),
        (json!({"keyPaths": ["/etc/pki/rsa.pub", "/etc/pki/ecdsa.pub"]}), Outcome::Signed),
        (json!({"keyData": data("ecdsa")}), Outcome::Signed),
        (json!({"keyDatas": [data("rsa"), data("ecdsa")]}), Outcome::Signed),
        (json!({"keyDatas": [data("rsa"), data("ed25519")]}), Outcome::Refused),
    ] {
        let mut requirement = fields.clone();
        requirement["type"] = "sigstoreSigned".into();
        requirement["signedIdentity"] = json!({"type": "matchRepository"});
        let policy = docker(json!({"registry.example": [requirement]}));
        let verdict = judged(&policy, support::REFERENCE);
        assert_eq!(verdict.outcome, expected, "{fields}: {verdict}");
        assert_eq!(verdict.rule.unwrap().entry, "transports.docker.\"registry.example\"");
    }
}

#[test]
fn every_requirement_of_a_list_must_be_met() {
    let both = json!([signed("ecdsa", repository()), signed("rsa", repository())]);
    let policy = docker(json!({"registry.example": both}));
    assert_eq!(judged(&policy, support::REFERENCE).outcome, Outcome::Refused);
    let verdict = verdict_on(&policy, support::REFERENCE, "one", &signatures("cosign2/all"));
    assert_eq!(verdict.outcome, Outcome::Signed, "{verdict}");
    for other in ["reject", "signedBy"] {
        let list = json!([signed("ecdsa", repository()), {"type": other}]);
        let policy = docker(json!({"registry.example": list}));
        assert_eq!(judged(&policy, support::REFERENCE).outcome, Outcome::Refused, "{other}");
    }
    let list = json!([signed("ecdsa", repository()), {"type": ACCEPT}]);
    assert_eq!(judged(&docker(json!({"registry.example": list})), support::REFERENCE).outcome, Outcome::Signed);
}

#[test]
fn maps_signed_identities() {
    let identity = |value: Value| json!({"signedIdentity": value});
    for (more, reference, expected) in [
        // The default asks for a tag in the signature, which cosign leaves out.
        (json!({}), support::REFERENCE, Outcome::Refused),
        (identity(json!({"type": "matchRepoDigestOrExact"})), support::REFERENCE, Outcome::Refused),
        (identity(json!({"type": "matchExact"})), support::REFERENCE, Outcome::Refused),
        (repository(), support::REFERENCE, Outcome::Signed),
        (repository(), "docker://registry.example/rocketos/nodes", Outcome::Refused),
        (
            identity(json!({"type": "exactRepository", "dockerRepository": "registry.example/rocketos/node"})),
            "docker://registry.example/mirror",
            Outcome::Signed,
        ),
        (
            identity(json!({"type": "exactReference", "dockerReference": "registry.example/rocketos/node:1"})),
            support::REFERENCE,
            Outcome::Refused,
        ),
        (
            identity(
                json!({"type": "remapIdentity", "prefix": "registry.example/m", "signedPrefix": "registry.example/rocketos"}),
            ),
            "docker://registry.example/m/node:1",
            Outcome::Refused,
        ),
    ] {
        let policy = docker(json!({"registry.example": [signed("ecdsa", more.clone())]}));
        let verdict = judged(&policy, reference);
        assert_eq!(verdict.outcome, expected, "{more} {reference}: {verdict}");
    }
}

#[test]
fn refuses_by_name_what_is_not_checked_here() {
    let key = "/etc/pki/ecdsa.pub";
    for (requirement, named) in [
        (json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": key}), "(signedBy)"),
        (json!({"type": "sigstoreSigned", "fulcio": {}, "rekorPublicKeyPath": key}), "with 'fulcio'"),
        (json!({"type": "sigstoreSigned", "pki": {}}), "with 'pki'"),
        (json!({"type": "sigstoreSigned", "keyPath": key, "rekorPublicKeyPath": key}), "with 'rekorPublicKeyPath'"),
        (json!({"type": "sigstoreSigned", "keyPath": key, "rekorPublicKeyPaths": [key]}), "'rekorPublicKeyPaths'"),
        (json!({"type": "sigstoreSigned", "keyPath": key, "rekorPublicKeyData": "eA=="}), "'rekorPublicKeyData'"),
        (json!({"type": "sigstoreSigned", "keyPath": key, "rekorPublicKeyDatas": ["eA=="]}), "'rekorPublicKeyDatas'"),
        (json!({"type": "sigstoreSigned", "keyPath": "/etc/pki/none.pub"}), "with 'keyPath': reading"),
        (json!({"type": "sigstoreSigned", "keyPath": "relative"}), "relative is not an absolute path"),
        (json!({"type": "sigstoreSigned", "keyData": "%"}), "with 'keyData': Invalid"),
        (json!({"type": "sigstoreSigned", "keyData": "eA=="}), "is not a public key in PEM"),
    ] {
        let policy = docker(json!({"registry.example": [requirement], "other.example": [{"type": ACCEPT}]}));
        let verdict = judged(&policy, support::REFERENCE);
        assert_eq!(verdict.outcome, Outcome::Refused);
        let reason = &verdict.reason;
        assert!(reason.contains(named) && reason.contains("cannot be checked here"), "{requirement}: {reason}");
        assert!(reason.contains("transports.docker.\"registry.example\""), "{reason}");
        // It says nothing of what it does not apply to.
        assert_eq!(judged(&policy, "docker://other.example/a").outcome, Outcome::Unsigned);
    }
    let storage = json!({"default": [{"type": ACCEPT}],
        "transports": {"containers-storage": {"[overlay@/x]a": [{"type": "reject"}], "": [{"type": ACCEPT}]}}});
    let verdict = judged(&read(&storage.to_string()).unwrap(), "containers-storage:localhost/a");
    assert!(verdict.reason.contains("a scope of podman's storage"), "{}", verdict.reason);
    assert_eq!(verdict.outcome, Outcome::Refused);
}

#[test]
fn refuses_files_that_the_tools_refuse_too() {
    let accept = json!([{"type": ACCEPT}]);
    let scoped = |requirements: Value| json!({"default": accept, "transports": {"docker": {"a.b": requirements}}});
    let sigstore = |more: Value| scoped(json!([signed("ecdsa", more)]));
    for (policy, expected) in [
        (json!({"transports": {}}).to_string(), "'default' is missing"),
        (json!({"default": []}).to_string(), "default: a list that is not empty is expected"),
        (json!({"default": accept, "transport": {}}).to_string(), "no field 'transport': did you mean 'transports'?"),
        (json!({"default": accept, "transports": {"dokcer": {}}}).to_string(), "'dokcer': did you mean 'docker'?"),
        (scoped(json!([])).to_string(), "transports.docker.\"a.b\": a list that is not empty"),
        (scoped(json!([{}])).to_string(), "'type' is missing"),
        (scoped(json!([{"type": "prPKI"}])).to_string(), "'prPKI' is no type: known are"),
        (scoped(json!([{"type": "sigstoreSiged"}])).to_string(), "did you mean 'sigstoreSigned'?"),
        (scoped(json!([{"type": "reject", "keyPath": "x"}])).to_string(), "has no field 'keyPath'"),
        (scoped(json!([{"type": "sigstoreSigned"}])).to_string(), "exactly one of 'keyPath', 'keyPaths'"),
        (sigstore(json!({"keyData": "eA=="})).to_string(), "exactly one of 'keyPath', 'keyPaths'"),
        (sigstore(json!({"signedIdentity": {"type": "matchAny"}})).to_string(), "'matchAny' is no type"),
        (sigstore(json!({"signedIdentity": {"type": "exactReference"}})).to_string(), "needs 'dockerReference'"),
        (sigstore(json!({"signedidentity": {}})).to_string(), "did you mean 'signedIdentity'?"),
        (json!({"default": accept, "transports": {"oci": {"media": accept}}}).to_string(), "an absolute path"),
        (format!("{{\"default\":{accept},\"default\":{accept}}}"), "'default' stands twice in one object"),
        (format!("{{\"default\":{accept}}} x"), "trailing characters"),
        ("{".to_owned(), "reading /etc/containers/policy.json: EOF"),
        (format!("{{\"default\":{}", "[".repeat(1000)), "recursion limit"),
    ] {
        let error = read(&policy).unwrap_err();
        assert!(error.contains(expected) && error.contains("/etc/containers/policy.json"), "{policy}\n{error}");
    }
}

#[test]
fn takes_bundles_where_any_name_will_do_and_nowhere_else() {
    let policy = docker(json!({"registry.example": [signed("ecdsa", repository())]}));
    let found: Vec<Signature> = signatures("cosign3/ecdsa");
    let verdict = verdict_on(&policy, support::REFERENCE, "one", &found);
    assert!(verdict.reason.contains("it names no repository"), "{verdict}");
}

/// What skopeo 1.18 said of `docker://127.0.0.1:5961/a/b:1`, each scope accepting where all else is rejected.
#[test]
fn finds_scopes_as_skopeo_does() {
    for (scope, accepted) in [
        ("127.0.0.1:5961/a/b:1", true),
        ("127.0.0.1:5961/a/b:2", false),
        ("127.0.0.1:5961/a/b", true),
        ("127.0.0.1:5961/a/", false),
        ("127.0.0.1:5961/a", true),
        ("127.0.0.1:5961", true),
        ("127.0.0.1", false),
        ("*.0.0.1", true),
        ("*.0.0.1:5961", false),
        ("*.1", true),
        ("*.127.0.0.1", false),
        ("", true),
    ] {
        let verdict = judged(&docker(json!({scope: [{"type": ACCEPT}]})), "docker://127.0.0.1:5961/a/b:1");
        assert_eq!(verdict.outcome == Outcome::Unsigned, accepted, "{scope}: {verdict}");
    }
}

#[test]
fn refuses_more_keys_for_one_place_than_are_ever_tried() {
    let key = json!({"type": "sigstoreSigned", "keyPaths": vec!["/etc/pki/ecdsa.pub"; 128]});
    let policy = |requirements: Vec<Value>| read(&json!({"default": requirements}).to_string());
    assert!(policy(vec![key.clone(), key.clone()]).is_ok());
    let error = policy(vec![key.clone(), key.clone(), signed("rsa", json!({}))]).unwrap_err();
    assert!(error.contains("257 keys for one place, more than 256"), "{error}");
}

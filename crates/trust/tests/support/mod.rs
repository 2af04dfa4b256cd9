//! The vectors in tests/data, as a caller would have fetched them.

#![allow(dead_code, reason = "each test file uses another part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use rocketos_model::ImageReference;
use rocketos_trust::{Carrier, Policy, Signature, Subject, Verdict, judge};

/// The reference most tests ask for.
pub const REFERENCE: &str = "docker://registry.example/rocketos/node:1";
/// The keys that made the vectors.
pub const KEYS: [&str; 4] = ["ecdsa", "ed25519", "rsa", "rsa4096"];

pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

pub fn bytes(name: &str) -> Vec<u8> {
    fs::read(data(name)).unwrap_or_else(|error| panic!("reading {name}: {error}"))
}

pub fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap()
}

/// The manifest of the image `one` or `two`.
pub fn manifest(image: &str) -> Vec<u8> {
    bytes(&format!("image/{image}.json"))
}

/// The signatures under a folder of `data`, made for `image`.
pub fn signatures_of(folder: &str, image: &str) -> Vec<Signature> {
    let manifest = manifest(image);
    let carrier =
        Carrier::read(folder, &bytes(&format!("{folder}/manifest.json")), Subject::of(&manifest).digest()).unwrap();
    let fetch = |digest: String| bytes(&format!("{folder}/{digest}"));
    carrier.blobs().iter().map(|blob| blob.with(fetch(blob.digest().to_hex())).unwrap()).collect()
}

pub fn signatures(folder: &str) -> Vec<Signature> {
    signatures_of(folder, "one")
}

/// A bundle that `cosign sign-blob` made over the manifest of `one`.
pub fn blob(name: &str) -> Signature {
    Signature::bundle(name, bytes(&format!("blob/{name}.json")))
}

/// The `[key]` tables of these keys.
pub fn key_tables(keys: &[&str]) -> String {
    keys.iter().map(|name| format!("[key.{name}]\npem = '''\n{}'''\n", text(&format!("keys/{name}.pub")))).collect()
}

/// A policy for `registry.example/rocketos`: `threshold` of `keys`, and more lines for the entry.
pub fn policy(keys: &[&str], threshold: usize, more: &str) -> Policy {
    let text = format!(
        "{}[repository.\"registry.example/rocketos\"]\naccept = \"signed\"\nkeys = {keys:?}\nthreshold = {threshold}\n{more}\n",
        key_tables(keys)
    );
    Policy::parse(Path::new("policy.toml"), &text).unwrap()
}

/// What `policy` says of image `one`.
pub fn verdict(policy: &Policy, signatures: &[Signature]) -> Verdict {
    verdict_on(policy, REFERENCE, "one", signatures)
}

pub fn verdict_on(policy: &Policy, reference: &str, image: &str, signatures: &[Signature]) -> Verdict {
    let reference: ImageReference = reference.parse().unwrap();
    judge(policy, &reference, &Subject::of(&manifest(image)), signatures)
}

//! Our policy file, and what it says of images.

use std::{error::Error, path::Path};

use rocketos_model::ImageReference;
use rocketos_trust::{Policy, Subject, judge};

use crate::signing;

/// Of every transport, of places in and beside those that seeds name.
const REFERENCES: [&str; 6] = [
    "docker://registry.example/rocketos/node:1",
    "docker://registry.example/rocketos/nodes",
    "oci:/srv/images/node",
    "oci-archive:/srv/image.tar",
    "containers-storage:localhost/node",
    "oci:../node",
];

pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match Policy::parse(Path::new("policy.toml"), text) {
        Ok(policy) => holds(&policy),
        Err(error) => drop((error.to_string(), error.source().map(ToString::to_string))),
    }
}

/// What holds of every policy.
pub(crate) fn holds(policy: &Policy) {
    assert!(!policy.is_absent());
    let _ = policy.to_string();
    for name in REFERENCES {
        let reference: ImageReference = name.parse().expect("a name");
        let verdict = judge(policy, &reference, &Subject::of(signing::IMAGE), &[]);
        // Nothing is accepted without a signature, unless an entry says so.
        assert!(verdict.require().is_err() || policy.accepts_something(), "{name}");
        assert!(verdict.require().is_err() || verdict.demands.is_empty(), "{name}");
        assert!(!verdict.reason.is_empty());
    }
}

//! Simple signing: the payload of containers-signature(5), as cosign fills it in.

use rocketos_model::ManifestDigest;
use serde::{Deserialize, Serialize};

use crate::signature::{Flaw, Subject};

/// `critical.type` of what cosign signs.
pub(crate) const TYPE: &str = "cosign container image signature";

// "Any field of critical that is not understood: reject the signature" (containers-signature(5), "critical").
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payload {
    pub(crate) critical: Critical,
    pub(crate) optional: Option<serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Critical {
    pub(crate) identity: Identity,
    pub(crate) image: Image,
    pub(crate) r#type: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Identity {
    pub(crate) docker_reference: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Image {
    pub(crate) docker_manifest_digest: String,
}

/// Checks that a payload speaks of `subject`, and returns the reference it was signed under.
pub(crate) fn read(payload: &[u8], subject: &Subject<'_>) -> Result<String, Flaw> {
    let payload: Payload = serde_json::from_slice(payload)
        .map_err(|error| Flaw::Malformed { what: "the payload", problem: error.to_string() })?;
    let critical = payload.critical;
    if critical.r#type != TYPE {
        return Err(Flaw::OtherPurpose { found: critical.r#type, expected: TYPE });
    }
    let found = critical.image.docker_manifest_digest;
    match found.parse::<ManifestDigest>() {
        Ok(digest) if digest == subject.digest() => Ok(critical.identity.docker_reference),
        _ => Err(Flaw::OtherImage { found }),
    }
}

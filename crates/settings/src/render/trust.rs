//! Certificates that programs of the node trust: the image's, those that settings trust, none that they switch off.
//!
//! Go's and OpenSSL's programs, podman and `rocketctl` among them, read the bundle and every other file of its folder: a certificate
//! counts until it is in none of them.

use std::collections::{BTreeMap, BTreeSet};

use openssl::error::ErrorStack;

use super::{Facts, Files, Service};
use crate::{Settings, model::value::pem};

/// The folder in which programs look for certificates, below the root.
pub const TRUST: &str = "etc/ssl/certs";
/// The file of it that has all of them.
pub(super) const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// A file of the image that should hold certificates, and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("what is in it are no certificates")]
pub struct NoCertificates(#[from] ErrorStack);

/// What the image trusts: each certificate as PEM, by the file below the root that has it.
pub(super) type Trusted = BTreeMap<String, Vec<String>>;

impl Facts {
    /// The image has a file of certificates, at a path below the root.
    ///
    /// # Errors
    /// When something in it is not PEM as it should be.
    pub fn trusts(&mut self, path: impl Into<String>, text: &[u8]) -> Result<(), NoCertificates> {
        self.trusted.insert(path.into(), pem(text)?);
        Ok(())
    }
}

pub(super) fn render(settings: &Settings, facts: &Facts, files: &mut Files) {
    let of = |trusted| {
        let named = settings.pki.values().filter(move |certificate| certificate.trusted == Some(trusted));
        named.filter_map(|certificate| certificate.data.as_ref()).flat_map(|data| data.each())
    };
    let off: BTreeSet<&String> = of(false).collect();
    let on = |certificate: &&String| !off.contains(certificate);
    let image: Vec<&String> = facts.trusted.get(BUNDLE).into_iter().flatten().collect();
    let mut seen = BTreeSet::new();
    let bundle: Vec<&String> =
        image.iter().copied().chain(of(true)).filter(on).filter(|certificate| seen.insert(*certificate)).collect();
    if bundle != image {
        files.put(BUNDLE, Service::Trust, text(bundle));
    }
    for (path, certificates) in facts.trusted.iter().filter(|(path, _)| *path != BUNDLE) {
        if !certificates.iter().all(|certificate| on(&certificate)) {
            files.put(path, Service::Trust, text(certificates.iter().filter(on)));
        }
    }
}

fn text<'a>(certificates: impl IntoIterator<Item = &'a String>) -> String {
    certificates.into_iter().map(String::as_str).collect()
}

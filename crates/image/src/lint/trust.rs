//! Which images the node would take after this one.

use std::fs;

use rocketos_model::layout;
use rocketos_trust::{Policy, tuf};

use super::{Image, Verdict};
use crate::SealError;

/// Where the policy belongs, and what it may be.
const ADVICE: &str = "name repositories and keys in /usr/lib/rocketos/trust/policy.toml";

pub(super) fn policy(image: &Image<'_>) -> Verdict {
    // What cannot be read is the other check's.
    let Ok(policy) = Policy::read(image.root) else { return Ok(None) };
    Ok(if policy.is_absent() {
        Some(format!("there is no policy; {ADVICE}"))
    } else if !policy.accepts_something() {
        Some(format!("the policy accepts nothing; {ADVICE}"))
    } else if policy.accepts_unsigned_alone() {
        Some(format!(
            "the policy accepts images and asks for no signature: {}; {ADVICE}",
            policy.to_string().trim_end()
        ))
    } else {
        None
    })
}

pub(super) fn syntax(image: &Image<'_>) -> Verdict {
    Ok(Policy::read(image.root).err().map(|error| chain(&error)))
}

pub(super) fn etc(image: &Image<'_>) -> Verdict {
    let found = super::below(image.root, "etc/rocketos/trust")?;
    Ok(super::items("these belong in /usr/lib/rocketos/trust", found))
}

pub(super) fn root(image: &Image<'_>) -> Verdict {
    let path = image.root.join(layout::image::TRUST_ROOT);
    match fs::read(&path) {
        Ok(bytes) => Ok(tuf::check_root(&bytes).err().map(|error| chain(&error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SealError::read(&path)(error)),
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

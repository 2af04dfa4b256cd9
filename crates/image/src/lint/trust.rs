//! Which images the node would take after this one.

use rocketos_trust::{Policy, PolicyError};

use super::{Image, Verdict};

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

fn chain(error: &PolicyError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

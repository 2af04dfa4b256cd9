//! What the node would let in.

use rocketos_firewall::load;

use super::{Image, Verdict};

pub(super) fn declarations(image: &Image<'_>) -> Verdict {
    let problem = match load(image.root) {
        Ok(declared) => {
            let broken =
                declared.broken.into_iter().map(|broken| format!("{}: {}", broken.declared_by, broken.problem));
            super::items("nothing of these would be open", broken)
        }
        Err(error) => Some(match std::error::Error::source(&error) {
            Some(why) => format!("{error}: {why}"),
            None => error.to_string(),
        }),
    };
    Ok(problem)
}

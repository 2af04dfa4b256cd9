//! Somebody between the publisher and the node, or in the registry's place: forged images, bent metadata, endless answers.
//!
//! Each attack goes through the parts that a node pulls with: `rocketos-oci`'s reader, the signatures that `rocketctl` looks
//! for beside an image, `rocketos-trust`'s verdict, a store on a disk; and, where it can be seen without a node, through
//! `rocketctl` itself. Neither machines nor images of ours are needed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bombs;
mod content;
mod fields;
mod forged;
mod hostile;
mod layer_names;
mod metadata;
mod node;
mod scene;
mod sizes;
mod slow;

// How `rocketctl` finds signatures beside an image.
#[path = "../../../cli/src/trust/signatures.rs"]
mod signatures;
// The publisher that rocketos-trust is tested with: it signs whatever it is told to.
#[path = "../../../crates/trust/tests/support/tuf.rs"]
mod tuf;

/// What `signatures` asks of the program that it is a part of.
mod exit {
    /// An error with its causes, each once.
    pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let mut parts: Vec<String> = causes.map(ToString::to_string).collect();
        parts.dedup();
        parts.join(": ")
    }
}

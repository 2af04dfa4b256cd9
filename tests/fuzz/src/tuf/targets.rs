//! The targets role's document.

use super::{Fuzzed, follow};

pub(crate) fn fuzz(bytes: &[u8]) {
    follow(Fuzzed::Targets, bytes);
}

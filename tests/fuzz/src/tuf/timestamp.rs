//! The timestamp.

use super::{Fuzzed, follow};

pub(crate) fn fuzz(bytes: &[u8]) {
    follow(Fuzzed::Timestamp, bytes);
}

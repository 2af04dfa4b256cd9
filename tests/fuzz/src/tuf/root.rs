//! The second root, signed by the first one's key.

use super::{Fuzzed, follow};

pub(crate) fn fuzz(bytes: &[u8]) {
    follow(Fuzzed::Root, bytes);
}

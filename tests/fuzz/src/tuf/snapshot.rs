//! The snapshot.

use super::{Fuzzed, follow};

pub(crate) fn fuzz(bytes: &[u8]) {
    follow(Fuzzed::Snapshot, bytes);
}

//! containers-policy.json(5).

use std::cell::LazyCell;

use rocketos_trust::Policy;
use tempfile::TempDir;

use crate::{policy, scratch};

thread_local! {
    static ROOT: LazyCell<TempDir> = LazyCell::new(scratch::folder);
}

pub(crate) fn fuzz(bytes: &[u8]) {
    ROOT.with(|root| {
        scratch::write(&root.path().join("etc/containers/policy.json"), bytes);
        match Policy::read(root.path()) {
            Ok(found) => {
                assert!(found.is_for_containers());
                policy::holds(&found);
            }
            Err(error) => drop(error.to_string()),
        }
    });
}

//! What settings need of each other.

mod containers;
mod network;
mod node;

use std::fmt::Display;

use crate::{Key, Problem, Settings};

/// Everything that is wrong between settings each of which is sound.
pub(super) fn across(settings: &Settings) -> Vec<Problem> {
    let mut found = Found::default();
    network::check(settings, &mut found);
    containers::check(settings, &mut found);
    node::check(settings, &mut found);
    found.0
}

/// What was found.
#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    /// Something is wrong at the key of these names.
    fn at(&mut self, names: &[&dyn Display], message: impl Into<String>) {
        let key = Key::new(names.iter().map(ToString::to_string)).ok();
        self.0.push(Problem { key, set_by: None, message: message.into() });
    }
}

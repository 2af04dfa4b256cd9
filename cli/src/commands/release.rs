//! `release`: what people who publish releases need.

mod plot;
mod simulate;

use crate::args::Release;

/// Does it.
pub fn run(verb: &Release) -> anyhow::Result<()> {
    match verb {
        Release::Simulate(args) => simulate::run(args),
    }
}

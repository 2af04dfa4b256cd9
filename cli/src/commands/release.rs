//! `release`: what people who publish releases need.

mod plot;
mod show;
mod simulate;

use crate::args::Release;

/// Does it.
pub fn run(verb: &Release) -> anyhow::Result<()> {
    match verb {
        Release::Show(args) => show::run(args),
        Release::Simulate(args) => simulate::run(args),
    }
}

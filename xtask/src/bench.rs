//! `bench`: measures, and writes a table and JSON into target/bench/.

use anyhow::{Result, bail};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One measurement; all where absent.
    name: Option<String>,
}

/// Measures.
pub fn run(args: &Args) -> Result<()> {
    match &args.name {
        Some(name) => bail!("there is no measurement {name}"),
        None => bail!("there are no measurements"),
    }
}

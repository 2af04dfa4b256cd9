//! `image`: builds a release of a variant into podman's storage.

use anyhow::Result;
use rocketos_tests::{Images, Progress, Tools};

/// What to build.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The variant: a folder below variants/.
    variant: String,
    /// The version it bears.
    #[arg(long, default_value = "1.0.0")]
    version: String,
}

/// Builds it and prints its name.
pub fn run(args: &Args) -> Result<()> {
    let progress = Progress::new();
    Tools::ensure(&progress)?;
    let images = Images::new(&progress);
    images.foundation()?;
    let release = images.variant(&args.variant, &args.version)?;
    eprintln!("\n{}", progress.table());
    println!("{}", release.image);
    Ok(())
}

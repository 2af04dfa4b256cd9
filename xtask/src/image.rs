//! `image`: builds a release of a variant, or the image of a host container, into podman's storage.

use anyhow::{Context, Result};
use rocketos_tests::{Images, Progress, Tools, paths};

/// What to build.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The variant: a folder below variants/; or the host container: one below containers/.
    name: String,
    /// The version it bears.
    #[arg(long, default_value = "1.0.0")]
    version: String,
    /// A host container that every node of the variant has, and the digest that its image was pushed with, such as control=sha256:…
    #[arg(long, value_name = "NAME=DIGEST")]
    host_container: Vec<String>,
}

/// Builds it and prints its name.
pub fn run(args: &Args) -> Result<()> {
    let progress = Progress::new();
    Tools::ensure(&progress)?;
    let mut images = Images::new(&progress);
    for named in &args.host_container {
        let (name, digest) = named.split_once('=').context("a host container is named as <name>=<digest>")?;
        images = images.host_container(name, digest);
    }
    let image = if paths::container(&args.name).exists() {
        images.tools()?;
        images.container(&args.name, &args.version)?
    } else {
        images.foundation()?;
        images.variant(&args.name, &args.version)?.image
    };
    eprintln!("\n{}", progress.table());
    println!("{image}");
    Ok(())
}

//! `completions` and `man`: made from the argument parser itself.

use std::{io, path::Path};

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::args::Args;

/// Prints a shell's completions.
pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    clap_complete::generate(shell, &mut Args::command(), "rocketctl", &mut io::stdout());
    Ok(())
}

/// Writes a manual page per verb.
pub fn man(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    clap_mangen::generate_to(Args::command(), directory)
        .with_context(|| format!("writing manual pages to {}", directory.display()))
}

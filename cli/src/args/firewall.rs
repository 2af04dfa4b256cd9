//! `firewall`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

/// `firewall`.
#[derive(Debug, Subcommand)]
pub enum Firewall {
    /// Say what is open, who declared it and why, and which declarations are left out because something is wrong with them.
    Show(FirewallShow),
}

/// `firewall show`.
#[derive(Debug, ClapArgs)]
pub struct FirewallShow {
    /// The root whose files are read.
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
    /// Print as JSON.
    #[arg(long, conflicts_with = "script")]
    pub json: bool,
    /// Print the script that is loaded.
    #[arg(long)]
    pub script: bool,
}

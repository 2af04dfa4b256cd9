//! `selinux`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

/// `selinux`.
#[derive(Debug, Subcommand)]
pub enum Selinux {
    /// Say in words what SELinux refused, and why.
    Explain(Explain),
}

/// `selinux explain`.
#[derive(Debug, ClapArgs)]
pub struct Explain {
    /// A log that has denials as the kernel writes them, or '-' for standard input; the journal where absent.
    pub log: Option<PathBuf>,
    /// Which boot of the journal, as journalctl counts: 0 this one, -1 the one before.
    #[arg(long, value_name = "N", default_value_t = 0, allow_hyphen_values = true, conflicts_with = "log")]
    pub boot: i32,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

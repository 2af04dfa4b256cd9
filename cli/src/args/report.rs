//! `report`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

/// `report`.
#[derive(Debug, Subcommand)]
pub enum Report {
    /// Draw a boot from the journal: its phases, and the units that took longest.
    Boot(ReportBoot),
}

/// `report boot`.
#[derive(Debug, ClapArgs)]
pub struct ReportBoot {
    /// Which boot, as journalctl counts: 0 this one, -1 the one before. Firmware and loader are known of this one alone.
    #[arg(long, value_name = "N", default_value_t = 0, allow_hyphen_values = true)]
    pub boot: i32,
    /// Where the picture goes (SVG); standard output where absent.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub output: Option<PathBuf>,
    /// Print the numbers as JSON instead, in microseconds since the kernel's start.
    #[arg(long)]
    pub json: bool,
}

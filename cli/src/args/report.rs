//! `report`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::Asked;

/// `report`.
#[derive(Debug, Subcommand)]
pub enum Report {
    /// Draw a boot from the journal: its phases, and the units that took longest.
    Boot(ReportBoot),
    /// Take what this node has to say of itself into one archive, without secrets of settings: documents of its state, and the files,
    /// lines of the journal and programs' words that files in report.d declare.
    Logs(ReportLogs),
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

/// `report logs`.
#[derive(Debug, ClapArgs)]
pub struct ReportLogs {
    /// Where the archive goes (tar, deflated): a new file, or '-' for standard output; a file here, named by the hour, where absent.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print the manifest as JSON: what was taken, truncated, absent or failed.
    #[arg(long)]
    pub json: bool,
    /// Where the API is.
    #[command(flatten)]
    pub asked: Asked,
}

//! `exec`.

use clap::Args as ClapArgs;
use rocketos_settings::model::value::Name;

use super::Asked;

/// `exec`.
#[derive(Debug, ClapArgs)]
pub struct Exec {
    /// The container's name in settings.
    pub container: Name,
    /// The program, as the container's own root has it, and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
    /// With a terminal of its own, also where standard input or output is none.
    #[arg(short, long, conflicts_with = "no_tty")]
    pub tty: bool,
    /// Without a terminal, also where standard input and output are one.
    #[arg(short = 'T', long)]
    pub no_tty: bool,
    /// Where the API is.
    #[command(flatten)]
    pub asked: Asked,
}

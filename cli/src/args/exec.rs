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
    /// Where the API is.
    #[command(flatten)]
    pub asked: Asked,
}

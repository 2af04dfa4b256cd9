//! User data on this machine: whom providers ask, and who waits for the network.
//!
//! Which providers there are, and what counts, is `rocketos_settings::provider`'s to say; here is the machine that they look at.

mod web;

use std::{fs, io, path::Path};

use anyhow::Context as _;
use rocketos_deploy::{DeployError, read_on_esp, read_on_labelled};
use rocketos_model::layout;
use rocketos_settings::provider::Machine;

use crate::exit;
pub use web::{Http, Patience};

/// This machine.
#[derive(Debug)]
pub struct Running;

impl Machine for Running {
    fn root(&self) -> &Path {
        Path::new("/")
    }

    fn on_esp(&mut self, path: &str, most: usize) -> Result<Option<Vec<u8>>, String> {
        read_on_esp(path, most).map_err(|error: DeployError| exit::causes(&error))
    }

    fn on_labelled(&mut self, label: &str, name: &str, most: usize) -> Result<Option<Vec<u8>>, String> {
        read_on_labelled(label, name, most).map_err(|error| exit::causes(&error))
    }
}

/// Writes down who waits for the network, for the unit that begins when it is there; where nobody does, there is no file.
///
/// # Errors
/// When that cannot be written down.
pub fn set_waiting(root: &Path, names: &[&str]) -> anyhow::Result<()> {
    let path = root.join(layout::node::USER_DATA_WAITS.trim_start_matches('/'));
    let written = match names {
        [] => fs::remove_file(&path).or_else(absent),
        names => fs::write(&path, names.join("\n") + "\n"),
    };
    written.with_context(|| format!("writing {}", path.display()))
}

/// Who waits for the network.
///
/// # Errors
/// When that cannot be read.
pub fn waiting(root: &Path) -> anyhow::Result<Vec<String>> {
    let path = root.join(layout::node::USER_DATA_WAITS.trim_start_matches('/'));
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => {
            let text = read.with_context(|| format!("reading {}", path.display()))?;
            Ok(text.lines().map(str::to_owned).collect())
        }
    }
}

fn absent(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests;

//! `systemd-repart`, which partitions and formats by the definitions in /usr/lib/repart.d.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

/// Definitions of every disk.
const DEFINITIONS: &str = "/usr/lib/repart.d";
/// Definitions of what is asked for.
const OPTIONAL: &str = "/usr/lib/rocketos/repart.d";
/// fs-verity needs the feature, and block size equal to the page size on kernels before 6.3.
const EXT4_OPTIONS: &str = "-O verity -b 4096";

/// Destroys what is on `device` and makes the partitions anew.
pub fn partition(device: &Path, separate_var: bool) -> anyhow::Result<()> {
    let mut definitions = vec![PathBuf::from(DEFINITIONS)];
    if separate_var {
        definitions.push(PathBuf::from(OPTIONAL));
    }
    let mut command = Command::new("systemd-repart");
    command.args(["--dry-run=no", "--empty=force", "--no-pager", "--pretty=no"]);
    for directory in definitions {
        command.arg(format!("--definitions={}", directory.display()));
    }
    let output = command
        .arg(device)
        .env("SYSTEMD_REPART_MKFS_OPTIONS_EXT4", EXT4_OPTIONS)
        .stdin(Stdio::null())
        .output()
        .context("starting systemd-repart")?;
    if !output.status.success() {
        bail!("systemd-repart failed with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

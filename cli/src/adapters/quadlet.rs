//! podman's `quadlet`, which makes units of containers' files.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;

/// Where it lies; an image without podman has none.
const PROGRAM: &str = "/usr/libexec/podman/quadlet";

/// Has it read the files in a folder and write no unit; what it complains about. An image without it has nobody who would read them.
pub fn check(folder: &Path) -> anyhow::Result<Result<(), String>> {
    if !Path::new(PROGRAM).exists() {
        return Ok(Ok(()));
    }
    let output = Command::new(PROGRAM)
        .arg("-dryrun")
        .env("QUADLET_UNIT_DIRS", folder)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {PROGRAM}"))?;
    match output.status.success() {
        true => Ok(Ok(())),
        false => Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

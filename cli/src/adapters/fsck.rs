//! `fsck.fat`, which mends FAT.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

/// How often it may find more: what it mends once may show it something else.
const PASSES: usize = 4;

/// Has it mend `device` as it does unasked, until it finds nothing; returns what it said.
pub fn mend(device: &Path) -> anyhow::Result<String> {
    let mut said = String::new();
    for _ in 0..PASSES {
        let output = Command::new("fsck.fat")
            .arg("-a")
            .arg(device)
            .stdin(Stdio::null())
            .output()
            .context("starting fsck.fat")?;
        said += &String::from_utf8_lossy(&output.stdout);
        match output.status.code() {
            Some(0) => return Ok(said),
            // It found something, and mended it (fsck.fat(8)).
            Some(1) => {}
            _ => bail!(
                "fsck.fat -a {} failed with {}: {said}{}",
                device.display(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        }
    }
    bail!("fsck.fat finds something in {} each time:\n{said}", device.display())
}

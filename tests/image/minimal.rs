//! What has no place on a node, and that nobody brings it back.

use anyhow::{Result, ensure};
use rocketos_tests::images::podman_build;

use crate::published::{Published, data};

/// Programs that a person at a node would look for first.
const MISSED: [&str; 12] = [
    "/usr/bin/sh",
    "/usr/bin/bash",
    "/usr/bin/dash",
    "/usr/bin/perl",
    "/usr/bin/python3",
    "/usr/bin/awk",
    "/usr/bin/apt",
    "/usr/bin/dpkg",
    "/usr/bin/ssh",
    "/usr/sbin/sshd",
    "/usr/bin/su",
    "/usr/bin/cat",
];

#[test]
fn a_node_has_no_shell() -> Result<()> {
    let published = Published::new()?;
    let (_, pulled) = published.standalone()?;
    let found: Vec<&str> = MISSED.iter().copied().filter(|path| pulled.files.has(path)).collect();
    ensure!(found.is_empty(), "there are {found:?}");
    Ok(())
}

#[test]
fn sealing_refuses_a_derived_image_with_a_shell() -> Result<()> {
    let published = Published::new()?;
    published.variant("standalone")?;
    let folder = data("shelled");
    let build = podman_build().args(["--no-cache", "-f"]).arg(folder.join("Containerfile")).arg(folder);
    let said =
        format!("{:#}", build.quiet().err().map(anyhow::Error::from).unwrap_or_else(|| anyhow::anyhow!("sealed")));
    for named in ["/usr/bin/bash (shell of package bash)", "/usr/bin/report (script)"] {
        ensure!(said.contains(named), "expected {named}: {said}");
    }
    Ok(())
}

//! `nft`, which loads packet filters.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, bail};

/// Has it load `script` in one transaction: all of it holds afterwards, or nothing has changed.
pub fn load(script: &str) -> anyhow::Result<()> {
    run(&["--file", "-"], script)
}

/// Has it and the kernel read `script`, and change nothing.
pub fn check(script: &str) -> anyhow::Result<()> {
    run(&["--check", "--file", "-"], script)
}

fn run(arguments: &[&str], script: &str) -> anyhow::Result<()> {
    let mut nft = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting nft")?;
    let mut stdin = nft.stdin.take().context("nft without a standard input")?;
    // It may complain before it has read everything.
    let (written, output) = thread::scope(|scope| {
        let writer = scope.spawn(move || stdin.write_all(script.as_bytes()));
        let output = nft.wait_with_output();
        (writer.join(), output)
    });
    let output = output.context("waiting for nft")?;
    if !output.status.success() {
        bail!("nft failed with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    match written {
        Ok(written) => written.context("handing nft its script"),
        Err(_) => bail!("handing nft its script ended by a defect"),
    }
}

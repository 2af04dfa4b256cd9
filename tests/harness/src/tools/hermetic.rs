//! Programs from Debian 13, extracted below `target/tools/` and run through their own loader.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::Run;
use crate::paths;
use crate::progress::Progress;

/// The release the tools come from.
const SUITE: &str = "trixie";
/// What is extracted; apt adds what they depend on. busybox is what containers of the tests hold, and ssh comes to a node's.
const PACKAGES: &str =
    "qemu-system-x86,qemu-utils,ovmf,docker-registry,skopeo,umoci,busybox-static,secilc,openssh-client";
/// The kernel for trials that need no image of ours.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
/// What mmdebstrap may take over a slow network.
const EXTRACT_LIMIT: Duration = Duration::from_secs(1200);
const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &[&str] = &["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio"];

/// Makes sure that the folder is there and that QEMU starts from it; returns the folder.
pub(super) fn ensure(progress: &Progress) -> Result<PathBuf> {
    let root = paths::tools().join("root");
    let stamp = paths::tools().join("root.packages");
    let wanted = format!("{SUITE} {PACKAGES}\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) && root.join(LOADER).exists() {
        return Ok(root);
    }
    progress.step("fetching QEMU, OVMF, a registry, secilc and ssh from Debian 13", || {
        extract(PACKAGES, &root)?;
        let (program, args) = invocation(&root, "qemu-system-x86_64");
        let version = Run::new(program).args(args).arg("--version").output().context("trying the extracted QEMU")?;
        if !version.contains("version 10.") {
            bail!("expected QEMU 10, found: {version}");
        }
        std::fs::write(&stamp, &wanted).with_context(|| format!("writing {}", stamp.display()))
    })?;
    Ok(root)
}

/// Returns the program and first arguments that run an extracted program.
pub(super) fn invocation(root: &Path, name: &str) -> (PathBuf, Vec<OsString>) {
    let libraries: Vec<_> = LIBRARIES.iter().map(|dir| root.join(dir).display().to_string()).collect();
    let args = vec!["--library-path".into(), libraries.join(":").into(), root.join("usr/bin").join(name).into()];
    (root.join(LOADER), args)
}

/// Returns the stock kernel, extracting it first where it is missing.
pub(super) fn kernel() -> Result<PathBuf> {
    let root = paths::tools().join("kernel");
    if !root.join("boot").is_dir() {
        extract(KERNEL_PACKAGE, &root)?;
    }
    let found = std::fs::read_dir(root.join("boot"))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")));
    found.with_context(|| format!("{} holds no kernel", root.display()))
}

/// Extracts packages and what they depend on into a new folder that replaces `root` only when whole.
fn extract(packages: &str, root: &Path) -> Result<()> {
    let parent = root.parent().context("a tools folder without a parent")?;
    std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let fresh = tempfile::Builder::new().prefix("new-").tempdir_in(parent).context("making a folder for the tools")?;
    // Through a tar file, since its owners inside are not those of this user when it is not root.
    let archive = fresh.path().join("root.tar");
    Run::new("mmdebstrap")
        .args(["--variant=extract", &format!("--include={packages}"), SUITE])
        .arg(&archive)
        .limit(EXTRACT_LIMIT)
        .quiet()?;
    let unpacked = fresh.path().join("root");
    std::fs::create_dir(&unpacked)?;
    Run::new("tar")
        .args(["--extract", "--no-same-owner", "--exclude=./dev", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(&unpacked)
        .quiet()?;
    if root.exists() {
        std::fs::remove_dir_all(root).with_context(|| format!("removing the old {}", root.display()))?;
    }
    std::fs::rename(&unpacked, root).with_context(|| format!("renaming to {}", root.display()))
}

//! Packages of the host's own distribution.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::Run;
use crate::progress::Progress;

/// What apt-get may take over a slow network.
const APT_LIMIT: Duration = Duration::from_secs(1200);

/// Package, and what shows that it or its equal is there: a file, or a program on the search path.
const NEEDED: &[(&str, &str)] = &[
    ("build-essential", "/usr/bin/cc"),
    ("g++", "/usr/bin/c++"),
    ("pkg-config", "/usr/bin/pkg-config"),
    ("libssl-dev", "/usr/include/openssl/ssl.h"),
    ("libpcre2-dev", "/usr/include/pcre2.h"),
    ("libselinux1-dev", "/usr/include/selinux/selinux.h"),
    ("libclang-dev", "/usr/share/doc/libclang-dev"),
    ("podman", "/usr/bin/podman"),
    ("crun", "/usr/bin/crun"),
    ("netavark", "/usr/lib/podman/netavark"),
    ("uidmap", "/usr/bin/newuidmap"),
    ("mmdebstrap", "/usr/bin/mmdebstrap"),
    ("mtools", "/usr/bin/mcopy"),
    ("xorriso", "/usr/bin/xorriso"),
    ("openssl", "/usr/bin/openssl"),
    ("skopeo", "/usr/bin/skopeo"),
    ("sbsigntool", "/usr/bin/sbverify"),
    ("softhsm2", "/usr/bin/softhsm2-util"),
    ("opensc", "/usr/bin/pkcs11-tool"),
    ("golang-go", "go"),
    ("python3-venv", "/usr/share/doc/python3-venv"),
    ("strace", "/usr/bin/strace"),
    ("nftables", "/usr/sbin/nft"),
    ("iproute2", "ip"),
    ("util-linux", "/usr/bin/unshare"),
    ("e2fsprogs", "/usr/sbin/debugfs"),
    ("dosfstools", "/usr/sbin/mkfs.vfat"),
    ("systemd", "/usr/bin/systemd-analyze"),
    ("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    ("ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),
];

/// Installs what is missing, or says what to type where this process may not.
pub(super) fn ensure(progress: &Progress) -> Result<()> {
    let missing: Vec<&str> = NEEDED.iter().filter(|(_, file)| !is_there(file)).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this host has no apt-get; install what Debian calls: {names}");
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "packages are missing and only root can install them; type:\n  \
             sudo apt-get update && sudo apt-get install --no-install-recommends {names}"
        );
    }
    progress.step(&format!("installing {names}"), || {
        apt(&["update"]).context("refreshing apt's lists")?;
        let mut args = vec!["install", "--yes", "--no-install-recommends"];
        args.extend(&missing);
        apt(&args).with_context(|| format!("installing {names}"))
    })
}

fn is_there(file: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An absolute path stands for itself in whatever folder.
    Path::new(file).exists() || std::env::split_paths(&path).any(|folder| folder.join(file).is_file())
}

fn apt(args: &[&str]) -> Result<()> {
    Run::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").limit(APT_LIMIT).quiet()
}

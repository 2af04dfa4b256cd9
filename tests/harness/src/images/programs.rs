//! The programs an image carries, compiled here and handed in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::Run;
use crate::paths;

/// What a cold release build may take on two cores.
const COMPILE_LIMIT: Duration = Duration::from_secs(2400);
/// Static programs are built for this target even on itself: the flags must not reach build scripts.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The profile of the initramfs program in the workspace's Cargo.toml.
const INIT_PROFILE: &str = "initramfs";

/// Programs without libraries beside them: package, program, and its name in the folder.
const STATIC: [(&str, &str, &str); 5] = [
    ("rocketos-initramfs", "rocketos-initramfs", "init"),
    ("rocketos-enter", "rocketos-enter", "enter"),
    ("rocketos-control", "rocketos-control", "control"),
    ("rocketos-admin", "rocketos-admin", "admin"),
    ("rocketos-admin", "rocketos-host-shell", "host-shell"),
];

/// Returns the folder that `Containerfile.d/11-tools-handin` has as its context.
pub(super) fn folder() -> PathBuf {
    paths::work().join("tools")
}

/// Compiles `rocketctl`, the initramfs program, the one by which host containers start and those that are in them, and puts them where
/// the build finds them.
pub(super) fn compile() -> Result<()> {
    cargo(&["build", "--release", "-p", "rocketctl"]).attached().context("compiling rocketctl")?;
    let programs = STATIC.iter().flat_map(|(package, ..)| ["-p", package]);
    let words: Vec<&str> =
        ["build", "--profile", INIT_PROFILE, "--target", STATIC_TARGET].into_iter().chain(programs).collect();
    cargo(&words).env("RUSTFLAGS", init_flags()?).attached().context("compiling the static programs")?;
    std::fs::create_dir_all(folder()).with_context(|| format!("making {}", folder().display()))?;
    let target = paths::target();
    hand_in(&target.join("release/rocketctl"), "rocketctl")?;
    let fixed = target.join(STATIC_TARGET).join(INIT_PROFILE);
    STATIC.iter().try_for_each(|(_, program, name)| hand_in(&fixed.join(program), name))
}

/// The compiler's flags of initramfs/README.md: static, and the same bytes in whatever directory.
fn init_flags() -> Result<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registry = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    let source = paths::workspace().display();
    let remap = format!("--remap-path-prefix={source}=/src --remap-path-prefix={}=/registry", registry.display());
    Ok(format!("-C target-feature=+crt-static {remap}"))
}

fn cargo(args: &[&str]) -> Run {
    Run::new("cargo").args(args).limit(COMPILE_LIMIT).printed()
}

/// Copies a program when it differs: an untouched copy keeps podman's cache valid.
fn hand_in(program: &Path, name: &str) -> Result<()> {
    let to = folder().join(name);
    let fresh = std::fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    if std::fs::read(&to).is_ok_and(|old| old == fresh) {
        return Ok(());
    }
    std::fs::copy(program, &to).with_context(|| format!("copying to {}", to.display())).map(drop)
}

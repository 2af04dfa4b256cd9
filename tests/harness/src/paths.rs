//! Where things are: the checkout, cargo's target folder and what the harness keeps in it.

use std::path::{Path, PathBuf};

/// Returns the root of the checkout this harness was compiled from.
pub fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// Returns the folder of a host container of this checkout, which need not be there.
pub fn container(name: &str) -> PathBuf {
    workspace().join("containers").join(name)
}

/// Returns cargo's target folder: `CARGO_TARGET_DIR`, else `target/` of the checkout.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |dir| workspace().join(PathBuf::from(dir)))
}

/// Returns how many bytes are free where cargo's target folder is, or is to be.
pub fn free() -> std::io::Result<u64> {
    let target = target();
    let there = target.ancestors().find(|folder| folder.exists()).unwrap_or(workspace());
    let system = rustix::fs::statvfs(there)?;
    Ok(system.f_bavail * system.f_frsize)
}

/// Returns the folder of the hermetic tools, shared by all runs.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// Returns the folder for what one run leaves for the next: disks, layouts, archives, logs.
pub fn work() -> PathBuf {
    target().join("work")
}

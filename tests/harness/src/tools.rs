//! What the host must have: its own packages, and a folder of programs from Debian 13 used as they are.
//!
//! QEMU, OVMF, the registry, skopeo, umoci and secilc come from trixie whatever the host runs: they are extracted, not
//! installed, and run through their own dynamic loader. So no service starts and nothing on the host changes.

mod hermetic;
mod packages;
mod referrers;
mod schemathesis;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths;
use crate::progress::Progress;
use crate::qemu::Accel;

/// The tools, present and tried.
#[derive(Debug, Clone)]
pub struct Tools {
    root: PathBuf,
    accel: Accel,
}

impl Tools {
    /// Makes sure that everything is there, installing or extracting what is not.
    ///
    /// Where packages are missing and this is not root, the error says what to type.
    pub fn ensure(progress: &Progress) -> Result<Self> {
        packages::ensure(progress)?;
        let root = hermetic::ensure(progress)?;
        let mut tools = Self { root, accel: Accel::Tcg };
        tools.accel = crate::qemu::probe_acceleration(&tools, progress)?;
        Ok(tools)
    }

    /// Returns how QEMU should run guests here.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// Returns the same tools with another acceleration, for the probe that chooses it.
    pub fn with_accel(&self, accel: Accel) -> Self {
        Self { accel, ..self.clone() }
    }

    /// Returns a command that runs an extracted program, ready for its arguments.
    pub fn program(&self, name: &str) -> Command {
        let (program, args) = hermetic::invocation(&self.root, name);
        let mut command = Command::new(program);
        command.args(args);
        command
    }

    /// Returns a search path on which tests find two registries too: `docker-registry`, whose package would start a service,
    /// and `referrers-registry`; and `schemathesis`.
    pub fn search_path(&self, progress: &Progress) -> Result<OsString> {
        let folder = paths::tools().join("bin");
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        referrers::ensure(progress, &folder)?;
        schemathesis::ensure(progress, &folder)?;
        let name = "docker-registry";
        let (program, args) = hermetic::invocation(&self.root, name);
        let words: Vec<_> = std::iter::once(program.into_os_string()).chain(args).collect();
        let words: Vec<_> = words.iter().map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let script = folder.join(name);
        std::fs::write(&script, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))
            .and_then(|()| std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("writing {}", script.display()))?;
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder).chain(std::env::split_paths(&rest));
        std::env::join_paths(folders).context("putting the tools on the search path")
    }

    /// The same as [`Tools::program`], with a time limit and a kept output.
    pub fn run(&self, name: &str) -> crate::command::Run {
        let (program, args) = hermetic::invocation(&self.root, name);
        crate::command::Run::new(program).args(args)
    }

    /// Returns a file of the extracted packages, by its path from `/`.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Returns a kernel of Debian's, extracted on first use, for trials that need no image of ours.
    pub fn stock_kernel(&self) -> Result<PathBuf> {
        hermetic::kernel()
    }

    /// Makes an overlay that holds the changes to `base`; `base` stays as it is.
    pub fn overlay(&self, base: &Path, base_format: crate::Format, file: &Path) -> Result<()> {
        let base = base.canonicalize().with_context(|| format!("opening {}", base.display()))?;
        self.run("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", base_format.name(), "-b"])
            .arg(base)
            .arg(file)
            .quiet()
            .with_context(|| format!("making the overlay {}", file.display()))
    }
}

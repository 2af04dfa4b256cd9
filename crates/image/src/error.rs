//! What keeps an image from being sealed.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use rocketos_boot::uki::UkiError;
use rocketos_store::StoreError;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

use crate::forbidden::Found;

/// Sealing that failed. Whatever the output folder holds then is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Reading the root, the rules or the programs.
    #[error("reading {path}")]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing the result.
    #[error("writing {path}")]
    Write {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output folder holds something.
    #[error("{path} is not empty; seal into a folder of its own")]
    OutputInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A rule that cannot be understood.
    #[error("{path}:{line}: {problem}")]
    Rule {
        /// The rules' file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// A file of the root that is not what its format says.
    #[error("/{path}: {problem}")]
    Malformed {
        /// Below the root.
        path: String,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// Something that no image may hold.
    #[error("/{path} (package {package}): {problem}; remove it, or name it in a prune rule")]
    Forbidden {
        /// Below the root.
        path: String,
        /// Who brings it.
        package: String,
        /// What it is.
        problem: String,
    },
    /// A node's image with what a node must not have.
    #[error("a node has no place for {}; leave them out by prune or build-only.packages rules", named(.0))]
    NotMinimal(Vec<Found>),
    /// Something every image needs.
    #[error("the root has no {what}; {advice}")]
    Missing {
        /// What was looked for.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// More kernels than one.
    #[error("the root has {} kernels ({}); an image carries exactly one", .0.len(), .0.join(", "))]
    Kernels(Vec<String>),
    /// A kernel that does not fit.
    #[error("the kernel's configuration lacks what {path}:{line} requires: {expected}, it has {found}")]
    KernelConfig {
        /// The rules' file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// As in the rule.
        expected: String,
        /// As in the kernel's configuration.
        found: String,
    },
    /// A module that stays needs one that goes.
    #[error("module {module} stays and needs {dependency}, which {rule} leaves out; keep the one, or leave out both")]
    ModuleDependency {
        /// The one that stays.
        module: String,
        /// The one that would go.
        dependency: String,
        /// Which rule says so.
        rule: String,
    },
    /// The initramfs is to carry a module the kernel does not have.
    #[error("{path}:{line}: the kernel has no module '{module}'; a trailing '?' would make it optional")]
    NoModule {
        /// The rules' file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Its name.
        module: String,
    },
    /// A bound was passed.
    #[error("/{path} has {found} bytes, more than {limit}")]
    TooLarge {
        /// Below the root.
        path: String,
        /// Its size.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Assembling the UKI.
    #[error("assembling the UKI from {stub}")]
    Uki {
        /// The EFI stub.
        stub: PathBuf,
        /// Why.
        source: UkiError,
    },
    /// Computing the composefs digest.
    #[error("computing the composefs digest of the sealed tree")]
    Digest(#[source] StoreError),
}

/// Items that a message names.
const NAMED: usize = 20;

fn named(found: &[Found]) -> String {
    let mut text: Vec<_> = found.iter().take(NAMED).map(ToString::to_string).collect();
    text.extend(found.len().checked_sub(NAMED + 1).map(|more| format!("{} more", more + 1)));
    text.join(", ")
}

impl SealError {
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }

    pub(crate) fn malformed(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed { path: path.into(), problem: problem.into() }
    }
}

/// Reads a whole file of the root that must not be larger than `limit`; absent where there is none.
///
/// Links are followed as they will be on the node: an absolute one begins at the root, and none leaves it.
pub(crate) fn read_bounded(root: &Path, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SealError> {
    let full = root.join(path);
    let failed = || SealError::read(&full);
    let top = File::open(root).map_err(SealError::read(root))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file: File = match openat2(&top, path, flags, Mode::empty(), resolve) {
        Ok(opened) => opened.into(),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(failed()(error.into())),
    };
    let meta = file.metadata().map_err(failed())?;
    if !meta.is_file() {
        return Err(SealError::malformed(path, "it is not a file"));
    }
    if meta.len() > limit {
        return Err(SealError::TooLarge { path: path.to_owned(), found: meta.len(), limit });
    }
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content).map_err(failed())?;
    Ok(Some(content))
}

/// Reads a text file of the root; absent where there is none.
pub(crate) fn read_text(root: &Path, path: &str, limit: u64) -> Result<Option<String>, SealError> {
    read_bounded(root, path, limit)?
        .map(|bytes| String::from_utf8(bytes).map_err(|_| SealError::malformed(path, "it is not UTF-8 text")))
        .transpose()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn follows_links_inside_the_root_only() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("etc")).unwrap();
        fs::write(at("etc/inside"), "here").unwrap();
        symlink("/etc/inside", at("absolute")).unwrap();
        symlink("../../../etc/inside", at("upwards")).unwrap();
        symlink("/etc/passwd", at("outside")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let read = |name: &str| read_text(root.path(), name, 10);
        assert_eq!(read("absolute").unwrap().as_deref(), Some("here"));
        assert_eq!(read("upwards").unwrap().as_deref(), Some("here"));
        assert_eq!(read("outside").unwrap(), None);
        assert!(matches!(read("loop"), Err(SealError::Read { .. })));
        assert_eq!(read("etc").unwrap_err().to_string(), "/etc: it is not a file");
        fs::write(at("etc/inside"), "more than ten").unwrap();
        assert_eq!(read("etc/inside").unwrap_err().to_string(), "/etc/inside has 13 bytes, more than 10");
    }
}

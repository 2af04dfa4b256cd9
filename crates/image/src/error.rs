//! What keeps an image from being sealed.

use std::{io, path::PathBuf};

use rocketos_boot::uki::UkiError;
use rocketos_store::StoreError;

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
pub(crate) fn read_bounded(root: &std::path::Path, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SealError> {
    let full = root.join(path);
    let size = match std::fs::metadata(&full) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => return Err(SealError::malformed(path, "it is not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SealError::read(full)(error)),
    };
    if size > limit {
        return Err(SealError::TooLarge { path: path.to_owned(), found: size, limit });
    }
    std::fs::read(&full).map(Some).map_err(SealError::read(full))
}

/// Reads a text file of the root; absent where there is none.
pub(crate) fn read_text(root: &std::path::Path, path: &str, limit: u64) -> Result<Option<String>, SealError> {
    read_bounded(root, path, limit)?
        .map(|bytes| String::from_utf8(bytes).map_err(|_| SealError::malformed(path, "it is not UTF-8 text")))
        .transpose()
}

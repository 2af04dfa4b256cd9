//! What has no place on a node: shells, interpreters, package managers, compilers, documents.
//!
//! Sealing asks before it writes anything, and names file and package; `image lint` asks a finished image, which has no
//! package database any more. Only the variant [`release::DEV`](crate::release::DEV) is excused.

use std::{fs::File, io::Read as _, path::Path};

use globset::GlobMatcher;
use memchr::memmem;

use crate::{
    SealError,
    rules::Globs,
    survey::{Entry, Kind, Survey},
};

/// Bytes of one program that are searched for what names it.
const PROGRAM_BYTES: u64 = 256 << 20;
/// Somebody may start it.
const EXECUTABLE: u32 = 0o111;

/// The rule `forbidden`: by package, by path, and by what a program says of itself.
#[derive(Debug)]
pub(crate) struct Forbidden {
    pub(crate) packages: Vec<(GlobMatcher, String)>,
    pub(crate) paths: Globs,
    /// What each line of `paths` calls it.
    pub(crate) path_words: Vec<String>,
    pub(crate) contents: Vec<(String, String)>,
}

/// A file that has no place on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Below the root.
    pub path: String,
    /// Who brings it; absent where nobody knows.
    pub package: Option<String>,
    /// What it is: `shell`, `script`, …
    pub what: String,
}

impl std::fmt::Display for Found {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "/{} ({}", self.path, self.what)?;
        match &self.package {
            Some(package) => write!(out, " of package {package})"),
            None => write!(out, ")"),
        }
    }
}

impl Forbidden {
    /// Everything in `tree`, which lies at `root`, that has no place on a node.
    ///
    /// # Errors
    /// Where a program cannot be read.
    pub(crate) fn find(
        &self,
        root: &Path,
        tree: &Survey,
        owner: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<Found>, SealError> {
        let mut found = Vec::new();
        for (path, entry) in tree {
            if matches!(entry.kind, Kind::Directory) {
                continue;
            }
            let package = owner(path);
            if let Some(what) = self.named(path, package.as_deref()).or(self.told(root, path, entry)?) {
                found.push(Found { path: path.clone(), package, what });
            }
        }
        Ok(found)
    }

    /// What its path or its package says.
    fn named(&self, path: &str, package: Option<&str>) -> Option<String> {
        let by_path = self.paths.index(path).map(|index| self.path_words[index].clone());
        by_path.or_else(|| {
            let package = package?;
            self.packages.iter().find(|(glob, _)| glob.is_match(package)).map(|(_, what)| what.clone())
        })
    }

    /// What its content says, where it is a program.
    fn told(&self, root: &Path, path: &str, entry: &Entry) -> Result<Option<String>, SealError> {
        if entry.kind != Kind::File || entry.mode & EXECUTABLE == 0 {
            return Ok(None);
        }
        let full = root.join(path);
        if entry.size > PROGRAM_BYTES {
            return Err(SealError::TooLarge { path: path.to_owned(), found: entry.size, limit: PROGRAM_BYTES });
        }
        let mut content = Vec::new();
        File::open(&full)
            .and_then(|file| file.take(PROGRAM_BYTES).read_to_end(&mut content))
            .map_err(SealError::read(&full))?;
        if content.starts_with(b"#!") {
            return Ok(Some("script".to_owned()));
        }
        let said = self.contents.iter().find(|(mark, _)| memmem::find(&content, mark.as_bytes()).is_some());
        Ok(said.map(|(_, what)| what.clone()))
    }
}

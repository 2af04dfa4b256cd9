//! Licences of a package, where Debian says them for machines.

use std::{collections::BTreeSet, path::Path};

use crate::{SealError, error::read_text};

/// Bytes of one copyright file.
const BYTES: u64 = 4 << 20;
/// How a machine-readable copyright file begins (Debian's copyright format 1.0).
const FORMAT: &str = "debian.org/doc/packaging-manuals/copyright-format/1.0";

/// Short names of all licences of `package`, in order; empty where the file is for people alone or missing.
pub(crate) fn licences(root: &Path, package: &str) -> Result<BTreeSet<String>, SealError> {
    let path = format!("usr/share/doc/{package}/copyright");
    match read_text(root, &path, BYTES) {
        Ok(text) => Ok(text.map(|text| parse(&text)).unwrap_or_default()),
        // Old files are in Latin-1, and for people.
        Err(SealError::Malformed { .. }) => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> BTreeSet<String> {
    if !text.lines().take(3).any(|line| line.starts_with("Format") && line.contains(FORMAT)) {
        return BTreeSet::new();
    }
    text.lines()
        .filter_map(|line| line.strip_prefix("License:"))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_short_names_of_machine_readable_files() {
        let text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n\
            License: GPL-2+\n words\n\nFiles: a\nLicense: Expat\n\nLicense: GPL-2+\n";
        assert_eq!(super::parse(text).into_iter().collect::<Vec<_>>(), ["Expat", "GPL-2+"]);
        assert!(super::parse("License: GPL\n").is_empty());
    }
}

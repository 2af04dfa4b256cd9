//! Files of one kind in several folders, found as systemd finds its own.
//!
//! Owns which files count: of those of one name the one in the later folder does, and one that is empty or a link to
//! /dev/null masks. What they say is the caller's.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The folders of image, run time and administrator, below a root; the later over the earlier.
pub const FOLDERS: [&str; 3] = ["usr/lib/rocketos", "run/rocketos", "etc/rocketos"];
/// Characters of a name.
const NAME_CHARS: usize = 128;
/// What a file's name ends with.
const SUFFIX: &str = ".toml";

/// A folder or a file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading {}", path.display())]
pub struct ReadError {
    /// Which.
    pub path: PathBuf,
    source: io::Error,
}

/// The files that count in `<folder>/<name>` of each of [`FOLDERS`] below `root`, by their names without the suffix. Those that
/// mask are among them: their [`text`] is empty.
///
/// # Errors
/// When a folder that is there cannot be listed.
pub fn files(root: &Path, name: &str) -> Result<BTreeMap<String, PathBuf>, ReadError> {
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        for path in list(&root.join(folder).join(name))? {
            if let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(SUFFIX)) {
                found.insert(name.to_owned(), path.clone());
            }
        }
    }
    Ok(found)
}

/// The files of a folder, by name, but for hidden ones; none where there is no folder.
///
/// # Errors
/// When it cannot be listed.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |source| ReadError { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let hidden = entry.file_name().to_str().is_none_or(|name| name.starts_with('.') || name.len() > NAME_CHARS);
        if !hidden {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// A file's text.
///
/// # Errors
/// When it cannot be read, is no UTF-8, or has more bytes than `limit`.
pub fn text(path: &Path, limit: u64) -> Result<String, ReadError> {
    let failed = |source| ReadError { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limit + 1).read_to_string(&mut text).map_err(failed)?;
    match text.len() as u64 > limit {
        true => Err(failed(io::Error::other(format!("it has more than {limit} bytes")))),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_later_file_counts_and_an_empty_one_masks() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("usr/lib/rocketos/x.d/a.toml", "image"),
            ("usr/lib/rocketos/x.d/b.toml", "image"),
            ("usr/lib/rocketos/x.d/c.toml", "image"),
            ("run/rocketos/x.d/a.toml", "run"),
            ("etc/rocketos/x.d/a.toml", "etc"),
            ("etc/rocketos/x.d/b.toml", ""),
            ("etc/rocketos/x.d/README", "none"),
            ("etc/rocketos/x.d/.hidden.toml", "none"),
            ("etc/rocketos/other.d/d.toml", "none"),
        ] {
            put(root.path(), path, text);
        }
        std::os::unix::fs::symlink("/dev/null", root.path().join("etc/rocketos/x.d/c.toml")).unwrap();
        let found: Vec<_> = files(root.path(), "x.d")
            .unwrap()
            .into_iter()
            .map(|(name, path)| (name, text(&path, LIMIT).unwrap()))
            .collect();
        let expected = [("a", "etc"), ("b", ""), ("c", "")].map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(found, expected);
        assert!(files(root.path(), "nothing.d").unwrap().is_empty());
    }

    #[test]
    fn says_which_file_is_too_large_or_no_text() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.toml");
        for bytes in [vec![b'#'; LIMIT as usize + 1], vec![0xff]] {
            fs::write(&path, bytes).unwrap();
            assert!(text(&path, LIMIT).unwrap_err().to_string().contains("a.toml"));
        }
        fs::write(&path, vec![b'#'; LIMIT as usize]).unwrap();
        assert!(text(&path, LIMIT).is_ok());
        assert!(list(&path).unwrap_err().to_string().contains("a.toml"));
    }
}

//! Configuration files of ours, found as systemd finds its own: `<name>.toml` of the later folder stands in place of the
//! earlier one's; drop-ins from `<name>.toml.d` of all folders are laid over it in the order of their names, and one stands in
//! place of those of the same name in earlier folders. An empty file, or a link to /dev/null, masks.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use rocketos_model::limits::CONFIG_FILE_BYTES;
use toml::Table;

/// The folders, the later over the earlier.
const FOLDERS: [&str; 3] = ["usr/lib/rocketos", "run/rocketos", "etc/rocketos"];
/// Drop-ins of one folder.
const DROP_INS: usize = 128;

/// Everything that the files below `root` say: of a key that several set, the last one's value.
pub fn read(root: &Path, name: &str) -> anyhow::Result<Table> {
    let mut all = Table::new();
    for path in files(root, name)? {
        let text = text(&path)?;
        let table: Table = toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        all.extend(table);
    }
    Ok(all)
}

fn files(root: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folders = FOLDERS.map(|folder| root.join(folder));
    let file = folders.iter().rev().map(|folder| folder.join(format!("{name}.toml"))).find(|path| path.exists());
    let mut drop_ins = BTreeMap::new();
    for folder in folders {
        let folder = folder.join(format!("{name}.toml.d"));
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.with_context(|| format!("listing {}", folder.display()))?,
        };
        for entry in entries {
            let path = entry.with_context(|| format!("listing {}", folder.display()))?.path();
            let shown = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'));
            if let Some(name) = shown.filter(|name| name.ends_with(".toml")) {
                drop_ins.insert(name.to_owned(), path.clone());
            }
            ensure!(drop_ins.len() <= DROP_INS, "{} has more than {DROP_INS} drop-ins", folder.display());
        }
    }
    Ok(file.into_iter().chain(drop_ins.into_values()).collect())
}

fn text(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(CONFIG_FILE_BYTES + 1).read_to_string(&mut text));
    read.with_context(|| format!("reading {}", path.display()))?;
    ensure!(text.len() as u64 <= CONFIG_FILE_BYTES, "{} has more than {CONFIG_FILE_BYTES} bytes", path.display());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_later_file_stands_in_place_and_drop_ins_are_laid_over() {
        let root = tempfile::tempdir().unwrap();
        let value = |key: &str| read(root.path(), "update").unwrap().get(key).map(|value| value.to_string());
        assert_eq!(value("mode"), None);
        put(root.path(), "usr/lib/rocketos/update.toml", "mode = 'off'\nother = 1\n");
        assert_eq!(value("mode").as_deref(), Some("\"off\""));
        put(root.path(), "etc/rocketos/update.toml", "mode = 'check'\n");
        assert_eq!((value("mode").as_deref(), value("other")), (Some("\"check\""), None));
        put(root.path(), "usr/lib/rocketos/update.toml.d/50-a.toml", "mode = 'apply'\n");
        put(root.path(), "usr/lib/rocketos/update.toml.d/40-b.toml", "mode = 'download'\nother = 2\n");
        assert_eq!((value("mode").as_deref(), value("other").as_deref()), (Some("\"apply\""), Some("2")));
        put(root.path(), "etc/rocketos/update.toml.d/50-a.toml", "");
        assert_eq!(value("mode").as_deref(), Some("\"download\""));
        std::os::unix::fs::symlink("/dev/null", root.path().join("etc/rocketos/update.toml.d/40-b.toml")).unwrap();
        assert_eq!(value("mode").as_deref(), Some("\"check\""));
        put(root.path(), "etc/rocketos/update.toml.d/60-c.toml", "mode = \n");
        let error = read(root.path(), "update").unwrap_err();
        assert!(format!("{error:#}").contains("60-c.toml"), "{error:#}");
    }
}

//! Configuration files of ours, found as systemd finds its own: `<name>.toml` of the later folder stands in place of the
//! earlier one's; drop-ins from `<name>.toml.d` of all folders are laid over it in the order of their names, and one stands in
//! place of those of the same name in earlier folders. An empty file, or a link to /dev/null, masks.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rocketos_dropins::{FOLDERS, text};
use rocketos_model::limits::CONFIG_FILE_BYTES;
use toml::Table;

/// Drop-ins of one folder.
const DROP_INS: usize = 128;

/// Everything that the files below `root` say: of a key that several set, the last one's value.
pub fn read(root: &Path, name: &str) -> anyhow::Result<Table> {
    let mut all = Table::new();
    for path in files(root, name)? {
        let text = text(&path, CONFIG_FILE_BYTES)?;
        let table: Table = toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        all.extend(table);
    }
    Ok(all)
}

fn files(root: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let files = FOLDERS.iter().rev().map(|folder| root.join(folder).join(format!("{name}.toml")));
    let file = files.into_iter().find(|path| path.exists());
    let folder = format!("{name}.toml.d");
    let drop_ins = rocketos_dropins::files(root, &folder)?;
    ensure!(drop_ins.len() <= DROP_INS, "{folder} has more than {DROP_INS} drop-ins");
    Ok(file.into_iter().chain(drop_ins.into_values()).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

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

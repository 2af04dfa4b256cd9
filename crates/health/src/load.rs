//! Finding checks below a root: `health.d` of image and administrator, and greenboot's folders.
//!
//! As systemd does it: of files of one name the one in the later folder counts, and one that is empty or a link to
//! /dev/null masks.

use std::{
    collections::BTreeMap,
    error::Error as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rocketos_dropins::{ReadError, files, list, text};
use rocketos_model::limits::CONFIG_FILE_BYTES;

use crate::{
    CheckResult,
    check::{Check, Level, limits},
};

/// Folder of checks, in those of image, run time and administrator.
const FOLDER: &str = "health.d";
/// greenboot's: programs, in these folders' `required.d` and `wanted.d`.
const GREENBOOT: [&str; 2] = ["usr/lib/greenboot/check", "etc/greenboot/check"];
/// What a name of a check that is such a program begins with.
const GREENBOOT_NAME: &str = "greenboot-";

/// A folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("looking for health checks")]
pub struct LoadError(#[from] ReadError);

/// Everything that is to be checked.
#[derive(Debug, Default)]
pub struct Suite {
    /// The checks, by name.
    pub checks: Vec<Check>,
    /// Files that are no checks, and why: each is a required check that could not run.
    pub broken: Vec<CheckResult>,
}

/// Reads every check below `root`.
///
/// # Errors
/// When a folder cannot be read; a file that is no check is part of what comes back.
pub fn load(root: &Path) -> Result<Suite, LoadError> {
    let mut suite = Suite::default();
    for (name, path) in files(root, FOLDER)? {
        match text(&path, CONFIG_FILE_BYTES) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => match Check::parse(&name, &text) {
                Ok(check) => suite.checks.push(check),
                Err(problem) => {
                    suite.broken.push(CheckResult::broken(&name, &format!("{}: {problem}", path.display())))
                }
            },
            Err(error) => {
                let why = error.source().map(ToString::to_string).unwrap_or_default();
                suite.broken.push(CheckResult::broken(&name, &format!("{error}: {why}")));
            }
        }
    }
    for (folder, level) in [("required.d", Level::Required), ("wanted.d", Level::Wanted)] {
        let mut programs: BTreeMap<String, PathBuf> = BTreeMap::new();
        for top in GREENBOOT {
            for path in list(&root.join(top).join(folder))? {
                if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                    programs.insert(name.to_owned(), path.clone());
                }
            }
        }
        let executable =
            |path: &Path| fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        for (name, path) in programs.into_iter().filter(|(_, path)| executable(path)) {
            let path = Path::new("/").join(path.strip_prefix(root).unwrap_or(&path));
            suite.checks.push(Check::program(format!("{GREENBOOT_NAME}{name}"), level, path));
        }
    }
    if suite.checks.len() > limits::CHECKS {
        let found = suite.checks.len();
        suite.checks.truncate(limits::CHECKS);
        let problem = format!("there are {found} checks; at most {} are made", limits::CHECKS);
        suite.broken.push(CheckResult::broken("number-of-checks", &problem));
    }
    Ok(suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) -> PathBuf {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_later_file_counts_and_an_empty_one_masks() {
        let root = tempfile::tempdir().unwrap();
        let unit = |unit: &str| format!("level = 'required'\nkind = 'unit'\nunit = '{unit}'\n");
        for (folder, name, text) in [
            ("usr/lib", "a", unit("a")),
            ("usr/lib", "b", unit("b")),
            ("usr/lib", "c", unit("c")),
            ("etc", "a", unit("other")),
            ("etc", "b", String::new()),
            ("etc", "d", "level = 'required'\nkind = 'unit'\n".to_owned()),
        ] {
            put(root.path(), &format!("{folder}/rocketos/health.d/{name}.toml"), &text);
        }
        std::os::unix::fs::symlink("/dev/null", root.path().join("etc/rocketos/health.d/c.toml")).unwrap();
        put(root.path(), "etc/rocketos/health.d/README", "no check");
        let suite = load(root.path()).unwrap();
        let kinds: Vec<_> = suite.checks.iter().map(|check| (check.name.as_str(), &check.kind)).collect();
        let other = crate::Kind::Unit { unit: "other".to_owned(), state: "active".to_owned() };
        assert_eq!(kinds, [("a", &other)]);
        let [broken] = suite.broken.as_slice() else { panic!("{:?}", suite.broken) };
        assert!(broken.name == "d" && format!("{broken:?}").contains("unit"), "{broken:?}");
    }

    #[test]
    fn greenboots_programs_are_checks_too() {
        let root = tempfile::tempdir().unwrap();
        for (path, mode) in [
            ("etc/greenboot/check/required.d/10-a.sh", 0o755),
            ("usr/lib/greenboot/check/required.d/10-a.sh", 0o755),
            ("usr/lib/greenboot/check/wanted.d/20-b", 0o755),
            ("usr/lib/greenboot/check/wanted.d/README", 0o644),
        ] {
            let path = put(root.path(), path, "#!/bin/sh\n");
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let suite = load(root.path()).unwrap();
        let found: Vec<_> = suite.checks.iter().map(|check| (check.name.as_str(), check.level)).collect();
        assert_eq!(found, [("greenboot-10-a.sh", Level::Required), ("greenboot-20-b", Level::Wanted)]);
        let command = vec!["/etc/greenboot/check/required.d/10-a.sh".to_owned()];
        assert_eq!(suite.checks[0].kind, crate::Kind::Command { command });
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let base = "level = 'required'\n";
        for (text, says) in [
            ("kind = 'unit'\nunit = 'a'", "level"),
            ("level = 'important'\nkind = 'unit'\nunit = 'a'", "important"),
            (&format!("{base}kind = 'ping'"), "ping"),
            (&format!("{base}kind = 'unit'\nunit = 'a'\nstatus = 3"), "status"),
            (&format!("{base}kind = 'http'\nurl = 'gopher://a'"), "neither"),
            (&format!("{base}kind = 'tcp'\naddress = 'here'"), "socket address"),
            (&format!("{base}kind = 'mount'\npath = 'var'"), "no absolute path"),
            (&format!("{base}kind = 'mount'\npath = '/var'\nfree = '5 apples'"), "no amount"),
            (&format!("{base}kind = 'command'\ncommand = []"), "1 to 128 words"),
            (&format!("{base}kind = 'command'\ncommand = ['true']"), "no absolute path"),
            (&format!("{base}kind = 'default-route'\ntimeout = '2h'"), "more than 3600 s"),
            (&format!("{base}kind = 'default-route'\ntimeout = '0s'"), "timeout of nothing"),
            (&format!("{base}kind = 'default-route'\nretries = 2000"), "more than 1000"),
            ("[", "TOML"),
        ] {
            let problem = Check::parse("x", text).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }
}

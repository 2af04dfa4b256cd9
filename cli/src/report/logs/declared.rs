//! What a report is to have, as files of `report.d` declare it: those of the image, of this boot and of the administrator.

use std::{error::Error as _, path::Path, time::Duration};

use rocketos_dropins::{ReadError, files, text};
use rocketos_model::limits::CONFIG_FILE_BYTES;
use serde::Deserialize;

use super::limits;

/// Folder of declarations, in those of image, run time and administrator.
const FOLDER: &str = "report.d";

/// Files of one size.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Each by its whole path; nothing in it stands for anything else.
    pub paths: Vec<String>,
    /// Bytes of each that are taken, from its end.
    #[serde(default = "limits::usual_bytes")]
    pub bytes: u64,
}

/// Lines of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// What the member is called.
    pub name: String,
    /// Of which unit; of all where absent.
    pub unit: Option<String>,
    /// Of which boot: 0 this one, -1 the one before.
    #[serde(default)]
    pub boot: i32,
    /// So important at least; all where absent.
    pub priority: Option<Priority>,
    /// The last so many.
    #[serde(default = "limits::usual_lines")]
    pub lines: u32,
}

/// How important a line is, by syslog's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Priority {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Err => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// What a program says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What the member is called.
    pub name: String,
    /// The program, by its whole path, and its arguments.
    pub command: Vec<String>,
    /// How long it may take.
    #[serde(default = "limits::usual_time", deserialize_with = "time")]
    pub timeout: Duration,
    /// Bytes of what it says that are taken, from their end.
    #[serde(default = "limits::usual_bytes")]
    pub bytes: u64,
}

/// A file of declarations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// Files.
    #[serde(default)]
    pub file: Vec<Files>,
    /// Lines of the journal.
    #[serde(default)]
    pub journal: Vec<Journal>,
    /// Programs.
    #[serde(default)]
    pub command: Vec<Command>,
}

fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(serde::de::Error::custom)
}

impl Declaration {
    /// Reads one; every limit is looked at.
    pub fn parse(text: &str) -> Result<Self, String> {
        let declaration: Self = toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
        declaration.check()?;
        Ok(declaration)
    }

    fn check(&self) -> Result<(), String> {
        let within = |what: &str, found: u64, most: u64| match (1..=most).contains(&found) {
            true => Ok(()),
            false => Err(format!("{what}: {found} is not from 1 to {most}")),
        };
        for files in &self.file {
            within("bytes", files.bytes, limits::MEMBER_BYTES)?;
            within("paths", files.paths.len() as u64, limits::PATHS as u64)?;
            for path in &files.paths {
                // As it is written is how the member is called.
                let plain = path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_name));
                if !plain || path.len() > limits::PATH_BYTES {
                    return Err(format!("'{path}' is no whole path of a file"));
                }
            }
        }
        for journal in &self.journal {
            named(&journal.name)?;
            within("lines", journal.lines.into(), limits::LINES.into())?;
            if journal.unit.as_deref().is_some_and(|unit| !is_name(unit) || unit.contains(['*', '?', '['])) {
                return Err(format!("{}: 'unit' is the whole name of one", journal.name));
            }
            if !(-limits::BOOTS..=0).contains(&journal.boot) {
                return Err(format!("{}: 'boot' is 0 for this one, -1 for the one before", journal.name));
            }
        }
        for command in &self.command {
            named(&command.name)?;
            within("bytes", command.bytes, limits::MEMBER_BYTES)?;
            within("words of a command", command.command.len() as u64, limits::WORDS as u64)?;
            if !command.command[0].starts_with('/') {
                return Err(format!("{}: the program is named by its whole path", command.name));
            }
            if command.timeout.is_zero() || command.timeout > limits::TIME {
                return Err(format!("{}: 'timeout' is at most {} s", command.name, limits::TIME.as_secs()));
            }
        }
        Ok(())
    }
}

/// True for what is one name in a path, and can be seen.
fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains('/') && !text.chars().any(char::is_control)
}

/// An error unless a member can be called so.
fn named(name: &str) -> Result<(), String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    match is_name(name) && name.len() <= limits::NAME_BYTES && name.bytes().all(known) {
        true => Ok(()),
        false => Err(format!("'{name}' is no name: letters, digits and -_.@, at most {}", limits::NAME_BYTES)),
    }
}

/// A declaration by its file's name; in the place of one that is none, why.
pub type Named = (String, Result<Declaration, String>);

/// The declarations below a root, by name.
///
/// # Errors
/// When a folder cannot be listed.
pub fn all(root: &Path) -> Result<Vec<Named>, ReadError> {
    let read = |path: &Path| match text(path, CONFIG_FILE_BYTES) {
        Ok(text) => Declaration::parse(&text),
        Err(error) => Err(error.source().map_or_else(|| error.to_string(), |source| format!("reading it: {source}"))),
    };
    Ok(files(root, FOLDER)?.into_iter().map(|(name, path)| (name, read(&path))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_usual() {
        let text = "[[file]]\npaths = ['/etc/os-release']\n[[journal]]\nname = 'all'\n[[command]]\nname = 'units'\n\
                    command = ['/usr/bin/systemctl']\n";
        let Declaration { file, journal, command } = Declaration::parse(text).unwrap();
        assert_eq!(
            (file[0].bytes, journal[0].boot, journal[0].lines),
            (limits::usual_bytes(), 0, limits::usual_lines())
        );
        assert_eq!((command[0].timeout, journal[0].priority), (limits::usual_time(), None));
        assert_eq!(Declaration::parse("").unwrap(), Declaration::default());
    }

    #[test]
    fn what_the_image_declares_is_sound() {
        let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base/tree");
        let all = all(&image).unwrap();
        assert!(all.iter().any(|(_, declaration)| declaration.as_ref().unwrap().journal.len() > 1), "{all:?}");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, told) in [
            ("[[file]]\npaths = ['etc/a']\n", "'etc/a' is no whole path"),
            ("[[file]]\npaths = ['/etc/../a']\n", "no whole path"),
            ("[[file]]\npaths = ['/etc//a']\n", "no whole path"),
            ("[[file]]\npaths = [\"/etc/a\\n\"]\n", "no whole path"),
            ("[[file]]\npaths = []\n", "paths: 0 is not from 1 to"),
            ("[[file]]\npaths = ['/a']\nbytes = 0\n", "bytes: 0 is not from 1 to"),
            ("[[file]]\npaths = ['/a']\nbytes = 99999999999\n", "is not from 1 to"),
            ("[[file]]\npath = '/a'\n", "unknown field `path`"),
            ("[[files]]\npaths = ['/a']\n", "unknown field `files`"),
            ("[[journal]]\nname = '../a'\n", "is no name"),
            ("[[journal]]\nname = 'a'\nboot = 1\n", "'boot' is 0"),
            ("[[journal]]\nname = 'a'\nunit = '*'\n", "'unit' is the whole name"),
            ("[[journal]]\nname = 'a'\nlines = 0\n", "lines: 0"),
            ("[[journal]]\nname = 'a'\npriority = 'loud'\n", "unknown variant `loud`"),
            ("[[command]]\nname = 'a'\ncommand = []\n", "words of a command: 0"),
            ("[[command]]\nname = 'a'\ncommand = ['ls']\n", "by its whole path"),
            ("[[command]]\nname = 'a'\ncommand = ['/ls']\ntimeout = '1h'\n", "'timeout' is at most"),
            ("[[command]]\nname = 'a'\ncommand = ['/ls']\ntimeout = 'soon'\n", "expected number"),
            ("x", "expected"),
        ] {
            let error = Declaration::parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn the_later_file_counts_and_an_empty_one_masks() {
        let root = tempfile::tempdir().unwrap();
        let put = |folder: &str, name: &str, text: &str| {
            let folder = root.path().join(folder).join("rocketos/report.d");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), text).unwrap();
        };
        put("usr/lib", "a.toml", "[[file]]\npaths = ['/image']\n");
        put("usr/lib", "b.toml", "[[file]]\npaths = ['/image']\n");
        put("etc", "a.toml", "[[file]]\npaths = ['/etc/own']\n");
        put("etc", "b.toml", "");
        put("etc", "c.toml", "x");
        let all = all(root.path()).unwrap();
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(all[0].1.as_ref().unwrap().file[0].paths, ["/etc/own"]);
        assert_eq!(all[1].1, Ok(Declaration::default()));
        assert!(all[2].1.is_err());
    }
}

//! Names that come from metadata, and the file names made of them.

use std::fmt;

use super::{TufError, limits};

/// A role: one of the four at the top, or a delegated one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Says which keys make the other three, and itself.
    Root,
    /// Says which snapshot is the newest, and is signed often.
    Timestamp,
    /// Says which version of each targets role belongs together.
    Snapshot,
    /// Says which targets there are, and who else may.
    Targets,
    /// A targets role under another one.
    Delegated(DelegatedName),
}

/// The name of a delegated role: any text but the four names at the top, and short enough for a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DelegatedName(String);

impl DelegatedName {
    /// Takes a name out of metadata.
    ///
    /// # Errors
    /// When it is empty, too long, or a top-level role's, whose file it would take.
    pub(crate) fn new(name: &str) -> Result<Self, TufError> {
        let problem = match name {
            "" => "it is empty",
            "root" | "timestamp" | "snapshot" | "targets" => "a top-level role has it",
            name if encode(name).len() > limits::ROLE_NAME_BYTES => "it is too long for a file",
            _ => return Ok(Self(name.to_owned())),
        };
        Err(TufError::Name { what: "role", name: shorten(name), problem })
    }
}

impl Role {
    /// The name as metadata has it.
    pub fn name(&self) -> &str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
            Self::Delegated(name) => &name.0,
        }
    }

    /// The key under which the timestamp and the snapshot list it (specification 4.4, METAPATH).
    pub(crate) fn meta_path(&self) -> String {
        format!("{}.json", self.name())
    }

    /// The file on the node and, without a version, in the repository: one name of a file, whatever the role is called.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.json", encode(self.name()))
    }

    /// The file in the repository, with its version (specification 6.2.1).
    pub(crate) fn versioned_file_name(&self, version: u64) -> String {
        format!("{version}.{}.json", encode(self.name()))
    }

    /// `_type` of its document.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets | Self::Delegated(_) => "targets",
        }
    }

    /// Bytes that its document may have.
    pub(crate) fn limit(&self) -> u64 {
        match self {
            Self::Root => limits::ROOT_BYTES,
            Self::Timestamp => limits::TIMESTAMP_BYTES,
            Self::Snapshot => limits::SNAPSHOT_BYTES,
            Self::Targets | Self::Delegated(_) => limits::TARGETS_BYTES,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delegated(name) => write!(f, "the delegated role '{}'", shorten(&name.0)),
            top => write!(f, "the role {}", top.name()),
        }
    }
}

/// The name of a target that is a path below the repository's targets and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName(String);

impl TargetName {
    /// Takes a name as people or metadata write it: components between `/`.
    ///
    /// # Errors
    /// When it could lead out of the folder it is put under, or is no name of a file.
    pub fn new(name: &str) -> Result<Self, TufError> {
        let problem = if name.is_empty() {
            "it is empty"
        } else if name.len() > limits::TARGET_NAME_BYTES {
            "it is too long"
        } else if name.chars().any(|c| c.is_control() || c == '\\') {
            "it has control characters or backslashes"
        } else if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            "it has empty components, '.' or '..', and would leave the repository"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(TufError::Name { what: "target", name: shorten(name), problem })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below the repository's targets, with the digest before the file's name where snapshots are consistent
    /// (specification 6.2.1).
    pub(crate) fn path(&self, digest: Option<&str>) -> String {
        match (digest, self.0.rsplit_once('/')) {
            (None, _) => self.0.clone(),
            (Some(digest), None) => format!("{digest}.{}", self.0),
            (Some(digest), Some((folder, file))) => format!("{folder}/{digest}.{file}"),
        }
    }

    /// One name of a file for the whole path, the same for every version of the target.
    ///
    /// # Errors
    /// When no file may have so long a name.
    pub fn file_name(&self) -> Result<String, TufError> {
        /// NAME_MAX, less what a temporary name has around it.
        const LONGEST: usize = 255 - 16;
        let encoded = encode(&self.0);
        match encoded.len() > LONGEST {
            true => {
                Err(TufError::Name { what: "target", name: shorten(&self.0), problem: "it is too long for a file" })
            }
            false => Ok(encoded),
        }
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986, 2.3: what comes out is one path segment.
///
/// The repositories that exist name delegated roles' files so.
pub fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            other => {
                encoded.push('%');
                encoded.push_str(&hex::encode_upper([other]));
            }
        }
    }
    encoded
}

/// A name for a message: what strangers wrote, without what would move a terminal's cursor, and not all of it.
pub(crate) fn shorten(name: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = name.chars().take(SHOWN).flat_map(char::escape_default).collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_one_file_name_of_any_role() {
        for (name, file) in [
            ("project", "project.json"),
            ("?", "%3F.json"),
            ("#", "%23.json"),
            ("../timestamp", "..%2Ftimestamp.json"),
            ("ä b", "%C3%A4%20b.json"),
        ] {
            assert_eq!(Role::Delegated(DelegatedName::new(name).unwrap()).file_name(), file);
        }
    }

    #[test]
    fn refuses_roles_that_would_take_another_file() {
        for name in ["", "root", "timestamp", "snapshot", "targets", &"x".repeat(201), &"/".repeat(67)] {
            assert!(DelegatedName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn refuses_targets_that_leave_the_repository() {
        for name in
            ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a\0b", "a\nb", "..\\x", &"x".repeat(1025)]
        {
            assert!(TargetName::new(name).is_err(), "{name:?}");
        }
        for name in ["a", "a/b/c.d", "..a/b..", "ä b?#%"] {
            assert_eq!(TargetName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn puts_the_digest_before_the_files_name() {
        assert_eq!(TargetName::new("a/b/c").unwrap().path(Some("12")), "a/b/12.c");
        assert_eq!(TargetName::new("c").unwrap().path(Some("12")), "12.c");
        assert_eq!(TargetName::new("a/c").unwrap().path(None), "a/c");
    }
}

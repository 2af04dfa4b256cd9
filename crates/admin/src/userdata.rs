//! User data of `admin`, in the form that Bottlerocket's has.
//!
//! ```json
//! {"user": "me", "ssh": {"authorized-keys": ["ssh-ed25519 AAAA… me"], "trusted-user-ca-keys": ["ssh-ed25519 AAAA… ca"]}}
//! ```

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use serde::Deserialize;

/// Bytes of user data (`rocketos-settings` takes no more).
const BYTES: u64 = 256 << 10;
/// Keys of a kind.
const KEYS: usize = 256;
/// Bytes of a key with its options.
const KEY_BYTES: usize = 16 << 10;
/// Bytes of a name (useradd(8)).
const NAME_BYTES: usize = 32;

/// Who may come.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UserData {
    /// The name by which they come; `root` may be said, too.
    pub user: Option<String>,
    /// By which keys.
    #[serde(default)]
    pub ssh: Ssh,
}

/// Keys.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ssh {
    /// Lines of authorized_keys (sshd(8)).
    #[serde(default)]
    pub authorized_keys: Vec<String>,
    /// Who signs certificates of those that may come (sshd_config(5), TrustedUserCAKeys).
    #[serde(default)]
    pub trusted_user_ca_keys: Vec<String>,
}

/// User data that are none.
#[derive(Debug, thiserror::Error)]
pub enum UserDataError {
    /// They are there and cannot be read.
    #[error("reading user data")]
    Read(#[source] io::Error),
    /// They are too long.
    #[error("user data have more than {BYTES} bytes")]
    Long,
    /// They are no JSON, or have other keys.
    #[error("user data are not what admin takes")]
    Format(#[from] serde_json::Error),
    /// A value that means nothing.
    #[error("user data: {0}")]
    Value(String),
}

impl UserData {
    /// Reads them; where there are none they let nobody in.
    ///
    /// # Errors
    /// When they cannot be read, or are none.
    pub fn read(path: &Path) -> Result<Self, UserDataError> {
        let mut bytes = Vec::new();
        match File::open(path).and_then(|file| file.take(BYTES + 1).read_to_end(&mut bytes)) {
            Ok(length) if length as u64 > BYTES => Err(UserDataError::Long),
            Ok(_) => Self::parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(UserDataError::Read(error)),
        }
    }

    /// Reads their bytes.
    ///
    /// # Errors
    /// When they have other keys than these, or a value that would say something else where sshd reads it.
    pub fn parse(bytes: &[u8]) -> Result<Self, UserDataError> {
        let read: Self = serde_json::from_slice(bytes)?;
        let value = |message: String| Err(UserDataError::Value(message));
        if let Some(name) = read.user.as_deref().filter(|name| !is_name(name)) {
            return value(format!("user '{}' is no name", name.escape_default()));
        }
        let all =
            [("authorized-keys", &read.ssh.authorized_keys), ("trusted-user-ca-keys", &read.ssh.trusted_user_ca_keys)];
        for (what, keys) in all {
            if keys.len() > KEYS {
                return value(format!("ssh.{what} has more than {KEYS} keys"));
            }
            // A line each, and nothing that would be another. Their words are not told: an option may have a secret.
            if let Some(at) = keys.iter().position(|key| !is_line(key)) {
                return value(format!("ssh.{what}, key {}: a key is a line of at most {KEY_BYTES} bytes", at + 1));
            }
        }
        Ok(read)
    }

    /// Whether there is a key of anybody.
    pub fn lets_somebody_in(&self) -> bool {
        !self.ssh.authorized_keys.is_empty() || !self.ssh.trusted_user_ca_keys.is_empty()
    }
}

/// A name that is one in every file (useradd(8)).
fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    first
        && name.len() <= NAME_BYTES
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_-".contains(&c))
}

fn is_line(key: &str) -> bool {
    let text = key.trim();
    !text.is_empty() && !text.starts_with('#') && key.len() <= KEY_BYTES && !key.chars().any(char::is_control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn reads_who_may_come() {
        let text = r#"{"user":"me","ssh":{"authorized-keys":["ssh-ed25519 AAAA me"],"trusted-user-ca-keys":["ssh-ed25519 BBBB"]}}"#;
        let read = UserData::parse(text.as_bytes()).unwrap();
        assert_eq!(read.user.as_deref(), Some("me"));
        assert_eq!((read.ssh.authorized_keys.len(), read.ssh.trusted_user_ca_keys.len()), (1, 1));
        for (text, expected) in [
            ("{}", false),
            (r#"{"ssh":{}}"#, false),
            (r#"{"ssh":{"authorized-keys":[]}}"#, false),
            (r#"{"ssh":{"authorized-keys":["a b"]}}"#, true),
            (r#"{"ssh":{"trusted-user-ca-keys":["a b"]}}"#, true),
        ] {
            assert_eq!(UserData::parse(text.as_bytes()).unwrap().lets_somebody_in(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know_and_what_would_say_something_else() {
        let keys = format!(r#"{{"ssh":{{"authorized-keys":[{}"a"]}}}}"#, r#""a","#.repeat(KEYS));
        let key = format!(r#"{{"ssh":{{"authorized-keys":["{}"]}}}}"#, "a".repeat(KEY_BYTES + 1));
        for text in [
            "",
            "[]",
            "{",
            r#"{"users":"me"}"#,
            r#"{"ssh":{"ciphers":["aes128-ctr"]}}"#,
            r#"{"user":""}"#,
            r#"{"user":"a b"}"#,
            r#"{"user":"a:0"}"#,
            r#"{"user":"*"}"#,
            r#"{"user":"-a"}"#,
            r#"{"user":"a\nPermitEmptyPasswords yes"}"#,
            r#"{"user":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#,
            r#"{"ssh":{"authorized-keys":[""]}}"#,
            r##"{"ssh":{"authorized-keys":["# a"]}}"##,
            r#"{"ssh":{"authorized-keys":["a\nb"]}}"#,
            r#"{"ssh":{"authorized-keys":["a\u0000"]}}"#,
            r#"{"ssh":{"trusted-user-ca-keys":["a\rb"]}}"#,
            r#"{"ssh":{"authorized-keys":"a"}}"#,
            &keys,
            &key,
        ] {
            assert!(UserData::parse(text.as_bytes()).is_err(), "{text}");
        }
        let told = UserData::parse(br#"{"ssh":{"authorized-keys":["a","hunter2\n"]}}"#).unwrap_err().to_string();
        assert!(told.contains("key 2") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn reads_a_file_that_need_not_be_there_and_is_no_longer_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("user-data");
        assert_eq!(UserData::read(&path).unwrap(), UserData::default());
        std::fs::write(&path, format!("{{}}{}", " ".repeat(BYTES as usize - 2))).unwrap();
        assert_eq!(UserData::read(&path).unwrap(), UserData::default());
        std::fs::write(&path, format!("{{}}{}", " ".repeat(BYTES as usize - 1))).unwrap();
        assert!(matches!(UserData::read(&path), Err(UserDataError::Long)));
    }
}

//! User data of `control`: which transports lead to the API.
//!
//! ```toml
//! [vsock]                       # who runs this machine, and nobody else
//! port = 1024
//!
//! [[exec]]                      # a program of the image, whose standard output asks and whose standard input is answered
//! program = ["/agent", "--quiet"]
//! ```

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use serde::Deserialize;

/// Bytes of user data.
const BYTES: u64 = 64 << 10;
/// Programs.
const PROGRAMS: usize = 8;
/// Words of a program.
const WORDS: usize = 64;
/// Bytes of a word.
const WORD_BYTES: usize = 4096;
/// The port that stands for any (vsock(7), VMADDR_PORT_ANY).
const ANY_PORT: u32 = u32::MAX;

/// What people said.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UserData {
    /// Listens to who runs this machine; to nobody where absent.
    pub vsock: Option<Vsock>,
    /// Programs whose input and output is a conversation.
    #[serde(default)]
    pub exec: Vec<Exec>,
}

/// Where who runs this machine comes.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Vsock {
    /// The port.
    pub port: u32,
}

/// A program of the image.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Exec {
    /// Its path, and words for it.
    pub program: Vec<String>,
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
    /// They are no TOML, or have other keys. What stands there is not told: it is a secret.
    #[error("line {0} of user data is none that control takes: it knows [vsock] with port, and [[exec]] with program")]
    Line(usize),
    /// A value that means nothing.
    #[error("user data: {0}")]
    Value(String),
}

impl UserData {
    /// Reads them; where there are none they say nothing.
    ///
    /// # Errors
    /// When they cannot be read, or are none.
    pub fn read(path: &Path) -> Result<Self, UserDataError> {
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(BYTES + 1).read_to_string(&mut text)) {
            Ok(length) if length as u64 > BYTES => Err(UserDataError::Long),
            Ok(_) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(UserDataError::Read(error)),
        }
    }

    /// Reads their text.
    ///
    /// # Errors
    /// When it has other keys than these, or a value that means nothing.
    pub fn parse(text: &str) -> Result<Self, UserDataError> {
        let line = |error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            UserDataError::Line(before.matches('\n').count() + 1)
        };
        let read: Self = toml::from_str(text).map_err(line)?;
        let value = |message: String| Err(UserDataError::Value(message));
        if read.vsock.as_ref().is_some_and(|vsock| vsock.port == 0 || vsock.port == ANY_PORT) {
            return value(format!("vsock.port is from 1 to {}", ANY_PORT - 1));
        }
        if read.exec.len() > PROGRAMS {
            return value(format!("there are more than {PROGRAMS} of exec"));
        }
        for Exec { program } in &read.exec {
            if !program.first().is_some_and(|path| path.starts_with('/')) {
                return value("exec.program begins with a path that begins with '/'".to_owned());
            }
            if program.len() > WORDS || program.iter().any(|word| word.len() > WORD_BYTES || word.contains('\0')) {
                return value(format!("exec.program has at most {WORDS} words of {WORD_BYTES} bytes, none with a NUL"));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn names_transports() {
        assert_eq!(UserData::parse("").unwrap(), UserData::default());
        let text = "[vsock]\nport = 1024\n[[exec]]\nprogram = ['/agent', '-x']\n[[exec]]\nprogram = ['/other']\n";
        let exec = |words: &[&str]| Exec { program: words.iter().map(|word| (*word).to_owned()).collect() };
        let expected =
            UserData { vsock: Some(Vsock { port: 1024 }), exec: vec![exec(&["/agent", "-x"]), exec(&["/other"])] };
        assert_eq!(UserData::parse(text).unwrap(), expected);
    }

    #[test]
    fn refuses_what_it_does_not_know_and_what_means_nothing() {
        let many = "[[exec]]\nprogram = ['/a']\n".repeat(PROGRAMS + 1);
        let words = format!("[[exec]]\nprogram = [{}]\n", "'/a',".repeat(WORDS + 1));
        for text in [
            "vsock = 1",
            "[vsock]\n",
            "[vsock]\nport = 0\n",
            "[vsock]\nport = -1\n",
            "[vsock]\nport = 4294967295\n",
            "[vsock]\nport = 4294967296\n",
            "[vsock]\nport = 1\ncid = 3\n",
            "[tcp]\nport = 1\n",
            "[[exec]]\nprogram = []\n",
            "[[exec]]\nprogram = ['agent']\n",
            "[[exec]]\nprogram = [\"/a\\u0000\"]\n",
            "{\"vsock\":{\"port\":1}}",
            &many,
            &words,
        ] {
            assert!(UserData::parse(text).is_err(), "{text}");
        }
        let told = UserData::parse("[vsock]\nport = 'hunter2'\n").unwrap_err();
        assert!(matches!(told, UserDataError::Line(2)) && !told.to_string().contains("hunter2"), "{told}");
    }

    #[test]
    fn reads_a_file_that_need_not_be_there_and_is_no_longer_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("user-data");
        assert_eq!(UserData::read(&path).unwrap(), UserData::default());
        std::fs::write(&path, "#".repeat(BYTES as usize)).unwrap();
        assert_eq!(UserData::read(&path).unwrap(), UserData::default());
        std::fs::write(&path, "#".repeat(BYTES as usize + 1)).unwrap();
        assert!(matches!(UserData::read(&path), Err(UserDataError::Long)));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(matches!(UserData::read(&path), Err(UserDataError::Read(_))));
    }
}

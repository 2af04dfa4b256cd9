//! Secrets: values that are stored and rendered, and shown to nobody.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// What stands for a secret wherever it would be shown.
pub const SHOWN: &str = "(secret)";
/// Bytes of a secret.
pub const SECRET_BYTES: usize = 16 << 10;

/// A secret. Debug, Display and serialisation show [`SHOWN`]; [`Secret::reveal`] is the only way to what it is.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("writeOnly" = true, "maxLength" = SECRET_BYTES))]
pub struct Secret(String);

impl Secret {
    /// The secret itself: for the file that is rendered for the one program that needs it, mode 0600.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Secret {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.len() > SECRET_BYTES {
            return Err(format!("a secret has 1 to {SECRET_BYTES} bytes"));
        }
        // Passwords have quotes and spaces; what ends a line or a string of C has no place in any.
        match text.chars().any(char::is_control) {
            true => Err("a secret has no characters that nobody sees, line ends among them".to_owned()),
            false => Ok(Self(text)),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SHOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_itself_to_nobody_who_does_not_ask_by_name() {
        let secret: Secret = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        for shown in [format!("{secret:?}"), secret.to_string(), serde_json::to_string(&secret).unwrap()] {
            assert!(shown.contains(SHOWN) && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn refuses_what_no_file_could_hold_without_saying_it() {
        for text in ["", "hunter2\n", "hunter2\0", &"hunter2".repeat(SECRET_BYTES)] {
            let error = Secret::try_from(text.to_owned()).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}

//! Values: what a setting may be, each a type of its own.
//!
//! What becomes part of a configuration file cannot end its line, nor leave its quotes: line ends and characters that nobody sees
//! are refused everywhere, quotes and backslashes wherever no escaping is defined ([`Word::quoted`] defines it for units).

mod container;
mod network;
mod number;
mod system;

pub use container::{ContainerImage, Endpoint, HostContainerImage, Name, RegistryName};
pub use network::{Address, HardwareAddress, Hostname, HttpUrl, InterfaceName, Network, NoProxy, Ports, Proxy, Server};
pub use number::{MemorySize, Ranged, TimeSpan};
pub(crate) use system::pem;
pub use system::{
    AbsolutePath, Certificates, ChannelName, Line, Lock, ModuleName, Motd, RawPath, RawText, ReleasePlace, SecretData,
    SysctlName, SysctlValue, TimeOfDay, UnitName, VariableName, Word, Zone,
};

/// Declares a text with a check of its own: a function that says what is wrong with it.
macro_rules! text {
    ($(#[$meta:meta])* $name:ident, $most:expr, $check:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[derive(schemars::JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String", extend("maxLength" = $most))]
        pub struct $name(String);

        impl $name {
            /// Most bytes of it.
            pub const MOST: usize = $most;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                $crate::model::value::bounded(text, Self::MOST)?;
                let check: fn(&str) -> Result<(), String> = $check;
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use text;

/// Declares what is written as text and kept as what it means: `FromStr` and `Display` are its own.
macro_rules! written {
    ($name:ident, $most:expr) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $crate::model::value::bounded(&text, $most)
                    .and_then(|()| text.parse::<$name>().map_err(|error| error.to_string()))
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use written;

/// Bytes of a text that a message repeats.
const REPEATED: usize = 80;

/// A text as a message repeats it.
fn short(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(REPEATED).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("'{}{more}'", start.escape_debug())
}

fn bounded(text: &str, most: usize) -> Result<(), String> {
    match text.len() > most {
        true => Err(format!("{} has {} bytes; at most {most} are taken", short(text), text.len())),
        false => Ok(()),
    }
}

/// True where all is printable ASCII without quotes and backslash: it means itself in every file format that we write.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\'' | b'\\' | b'`'))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Says which texts a type takes and which not; none takes what could end a line.
    pub(in crate::model) fn takes<T: std::str::FromStr<Err = String>>(sound: &[&str], wrong: &[&str]) {
        let name = std::any::type_name::<T>();
        for text in sound {
            assert!(text.parse::<T>().is_ok(), "{name}: {text:?}: {}", text.parse::<T>().err().unwrap_or_default());
            for evil in ["\n", "\0", "\r\n[Service]\nExecStart=/bin/x", "\u{1b}[2J"] {
                assert!(format!("{text}{evil}").parse::<T>().is_err(), "{name}: {text:?} and {evil:?}");
                assert!(format!("{evil}{text}").parse::<T>().is_err(), "{name}: {evil:?} and {text:?}");
            }
        }
        for text in wrong.iter().chain(&["", "\n"]) {
            let error = text.parse::<T>().err().unwrap_or_else(|| panic!("{name} takes {text:?}"));
            assert!(!error.contains('\n') && error.len() < 400, "{name}: {error}");
        }
    }

    #[test]
    fn a_message_repeats_no_more_than_a_line() {
        assert_eq!(short("a\nb\""), "'a\\nb\\\"'");
        assert!(short(&"ä".repeat(1000)).len() < 200);
    }
}

//! A key: the names that lead to a setting, dotted as TOML writes them.

use std::{borrow::Borrow, collections::BTreeMap, fmt, ops::Bound, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Names in a key.
pub const KEY_NAMES: usize = 12;
/// Bytes of one name.
pub const NAME_BYTES: usize = 256;
/// Bytes of a key as it is written.
pub const KEY_BYTES: usize = 1024;
/// What a key may begin with and need not: the table under which files have all settings.
pub const ROOT: &str = "settings";

/// What is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing.
    #[error("a key has at least one name, such as 'motd'")]
    Empty,
    /// Not as TOML writes it.
    #[error(
        "'{0}' is no key: names with dots between, in quotes where they have other than letters, digits, '-' and '_'"
    )]
    Form(String),
    /// Beyond a limit.
    #[error("a key has at most {KEY_NAMES} names of {NAME_BYTES} bytes and {KEY_BYTES} bytes in all")]
    Limit,
    /// A name that is empty, or that nobody could read.
    #[error("a name in a key is neither empty nor has it characters that nobody sees: {0:?}")]
    Name(String),
}

/// A key. [`ROOT`] before it is left out, whoever writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<String>);

impl Key {
    /// The key of these names.
    ///
    /// # Errors
    /// When there is none, or one is beyond a limit.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<Self, KeyError> {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        while names.len() > 1 && names[0] == ROOT {
            names.remove(0);
        }
        if names.is_empty() {
            return Err(KeyError::Empty);
        }
        if let Some(name) = names.iter().find(|name| name.is_empty() || name.chars().any(char::is_control)) {
            return Err(KeyError::Name(name.clone()));
        }
        let key = Self(names);
        let long = key.0.len() > KEY_NAMES || key.0.iter().any(|name| name.len() > NAME_BYTES);
        // As it is written, quotes and all: what is printed can be read again.
        match long || key.to_string().len() > KEY_BYTES {
            true => Err(KeyError::Limit),
            false => Ok(key),
        }
    }

    /// Its names, the outermost first; never none.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// A key of a map that cannot be there together with this one: one of the two is a value, and the other lies below it.
    pub(crate) fn in_the_way<'a, V>(&self, all: &'a BTreeMap<Self, V>) -> Option<&'a Self> {
        let above = (1..self.0.len()).find_map(|length| all.get_key_value(&self.0[..length]).map(|(key, _)| key));
        // In order of keys, what lies below one follows it at once.
        let below = || {
            let mut behind = all.range::<[String], _>((Bound::Excluded(self.0.as_slice()), Bound::Unbounded));
            behind.next().map(|(key, _)| key).filter(|key| key.is_within(self))
        };
        above.or_else(below)
    }

    /// True where it is the other, or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl Borrow<[String]> for Key {
    fn borrow(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError::Form(text.chars().take(KEY_BYTES).collect());
        if text.trim().is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > KEY_BYTES + ROOT.len() + 1 {
            return Err(KeyError::Limit);
        }
        if text.chars().any(char::is_control) {
            return Err(wrong());
        }
        // TOML's own reader knows quotes and escapes; whatever stands before the value it finds is the key.
        let line = format!("{text} = 0");
        let table = toml::de::DeTable::parse(&line).map_err(|_| wrong())?;
        let mut names = Vec::new();
        let mut table = table.get_ref();
        loop {
            let mut entries = table.iter();
            let (Some((name, value)), None) = (entries.next(), entries.next()) else { return Err(wrong()) };
            names.push(name.get_ref().to_string());
            match value.get_ref() {
                toml::de::DeValue::Table(inner) => table = inner,
                _ if value.span() == (line.len() - 1..line.len()) => return Self::new(names),
                _ => return Err(wrong()),
            }
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            match bare && !name.is_empty() {
                true => f.write_str(name)?,
                false => write!(f, "\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))?,
            }
        }
        Ok(())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.parse::<Key>().unwrap_or_else(|error| panic!("{text}: {error}")).names().to_vec()
    }

    #[test]
    fn reads_keys_as_toml_writes_them() {
        for (text, expected) in [
            ("motd", vec!["motd"]),
            ("host-containers.admin.enabled", vec!["host-containers", "admin", "enabled"]),
            ("settings.motd", vec!["motd"]),
            ("settings", vec!["settings"]),
            ("kernel.sysctl.\"vm.max_map_count\"", vec!["kernel", "sysctl", "vm.max_map_count"]),
            ("a.'b.c' . \"d\\\"e\\\\f\"", vec!["a", "b.c", "d\"e\\f"]),
            ("1234.ä", vec![]),
        ] {
            match expected.is_empty() {
                true => assert!(text.parse::<Key>().is_err(), "{text}"),
                false => assert_eq!(names(text), expected),
            }
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in
            ["", " ", ".", "a.", ".a", "a..b", "a b", "a=1#", "a = 0 #", "[a]", "a\nb", "a.\"b", "{}", "a#", "'a'b"]
        {
            assert!(text.parse::<Key>().is_err(), "{text:?}");
        }
        assert_eq!("\"\"".parse::<Key>(), Err(KeyError::Name(String::new())));
        assert_eq!("\"a\\nb\"".parse::<Key>(), Err(KeyError::Name("a\nb".to_owned())));
        assert_eq!(
            "a.".repeat(KEY_NAMES).trim_end_matches('.').parse::<Key>().map(|key| key.names().len()),
            Ok(KEY_NAMES)
        );
        assert_eq!(Key::new(vec!["a"; KEY_NAMES + 1]), Err(KeyError::Limit));
        assert_eq!(Key::new(["a".repeat(NAME_BYTES + 1)]), Err(KeyError::Limit));
        // Quotes count: 600 bytes that are written as more than a thousand.
        assert_eq!(Key::new(vec!["\"".repeat(200); 3]), Err(KeyError::Limit));
        assert_eq!("x".repeat(KEY_BYTES * 2).parse::<Key>(), Err(KeyError::Limit));
        assert_eq!(Key::new(Vec::<String>::new()), Err(KeyError::Empty));
    }

    #[test]
    fn finds_what_is_in_its_way() {
        let all: BTreeMap<Key, ()> = ["a.b", "a-b", "c.d.e", "c.f"].map(|text| (text.parse().unwrap(), ())).into();
        let found = |text: &str| text.parse::<Key>().unwrap().in_the_way(&all).map(ToString::to_string);
        for (text, expected) in [
            ("a", Some("a.b")),
            ("a.b", None),
            ("a.b.c.d", Some("a.b")),
            ("a-b.c", Some("a-b")),
            ("a.c", None),
            ("c", Some("c.d.e")),
            ("c.d", Some("c.d.e")),
            ("c.e", None),
            ("d", None),
        ] {
            assert_eq!(found(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn reads_whatever_it_writes() {
        let (mut random, mut random_names) = (fastrand::Rng::with_seed(6), fastrand::Rng::with_seed(7));
        let alphabet: Vec<char> = "abz09-_.\"'\\ #=[]{}äλ🚀$\u{2028}".chars().collect();
        for _ in 0..5000 {
            let mut name = || match random.u8(..8) {
                0 => ROOT.to_owned(),
                _ => (0..random.usize(1..12)).map(|_| alphabet[random.usize(..alphabet.len())]).collect(),
            };
            let names: Vec<String> = (0..KEY_NAMES).map(|_| name()).take(random_names.usize(1..=KEY_NAMES)).collect();
            let key = Key::new(names).unwrap();
            assert_eq!(key.to_string().parse::<Key>().as_ref(), Ok(&key), "{key}");
            assert_eq!(format!("settings.{key}").parse::<Key>(), Ok(key));
        }
    }
}

//! A check: TOML, one file each, named after the file.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de};

/// Bounds of a check.
pub mod limits {
    use std::time::Duration;

    /// Checks of a node: those of its settings, which have 128 and as many host containers, and those of its image.
    pub const CHECKS: usize = 512;
    /// Characters of a name.
    pub const NAME_CHARS: usize = 128;
    /// Attempts after the first.
    pub const RETRIES: u32 = 1000;
    /// What an attempt, a pause or a delay may take.
    pub const TIME: Duration = Duration::from_secs(3600);
    /// Bytes of an answer that are looked at.
    pub const ANSWER_BYTES: usize = 256 << 10;
    /// What whoever is asked to look at the network may take beside the look itself.
    pub const START: Duration = Duration::from_secs(30);
    /// Words of a command.
    pub const WORDS: usize = 128;
    /// What a look into a host container may take while a boot waits.
    pub const AT_BOOT: Duration = Duration::from_secs(10);
}

/// How much a check matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A release that fails it is bad.
    Required,
    /// It is reported.
    Wanted,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Kind {
    /// A systemd unit is in a state.
    Unit {
        /// Its name.
        unit: String,
        /// `ActiveState`, as systemd has it.
        #[serde(default = "active")]
        state: String,
    },
    /// A web server answers.
    Http {
        /// What is fetched.
        url: String,
        /// The status it has to have.
        #[serde(default = "ok")]
        status: u16,
        /// What has to be in the body.
        body: Option<String>,
    },
    /// Somebody listens.
    Tcp {
        /// Address and port.
        address: SocketAddr,
    },
    /// A file system is mounted, can be written, and has room.
    Mount {
        /// Where.
        path: PathBuf,
        /// Bytes that have to be free: `100M`, `2G`, or a share of it, `5%`.
        #[serde(default)]
        free: Free,
    },
    /// There is a default route.
    DefaultRoute {},
    /// A name has an address.
    Resolve {
        /// The name.
        name: String,
    },
    /// The clock was synchronised since boot.
    TimeSynchronised {},
    /// A program ends well.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// A program in a host container ends well.
    HostContainer {
        /// The container's name.
        container: String,
        /// The program and its arguments, as the container knows them.
        command: Vec<String>,
    },
}

fn active() -> String {
    "active".to_owned()
}

fn ok() -> u16 {
    200
}

/// How much has to be free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Free {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths.
    Share(u8),
}

impl Default for Free {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

impl FromStr for Free {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no amount of space, such as '100M', '2G' or '5%'");
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..split].parse().map_err(|_| wrong())?;
        let shift = match &text[split..] {
            "%" if number <= 100 => return Ok(Self::Share(number as u8)),
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(wrong()),
        };
        number.checked_mul(1 << shift).map(Self::Bytes).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Free {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How a check is made, whatever it looks at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manner {
    level: Level,
    #[serde(default)]
    after: Vec<String>,
    #[serde(default = "timeout", deserialize_with = "time")]
    timeout: Duration,
    #[serde(default)]
    retries: u32,
    #[serde(default = "interval", deserialize_with = "time")]
    interval: Duration,
    #[serde(default, deserialize_with = "time")]
    delay: Duration,
}

fn timeout() -> Duration {
    Duration::from_secs(30)
}

fn interval() -> Duration {
    Duration::from_secs(5)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    match humantime::parse_duration(&text) {
        Ok(time) if time <= limits::TIME => Ok(time),
        Ok(_) => Err(de::Error::custom(format!("{text} is more than {} s", limits::TIME.as_secs()))),
        Err(_) => Err(de::Error::custom(format!("'{text}' is no length of time, such as '30s' or '5min'"))),
    }
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name: that of its file.
    pub name: String,
    /// How much it matters.
    pub level: Level,
    /// What is looked at.
    pub kind: Kind,
    /// Checks that have to pass before it is made.
    pub after: Vec<String>,
    /// What one attempt may take.
    pub timeout: Duration,
    /// Attempts after the first.
    pub retries: u32,
    /// The pause between two.
    pub interval: Duration,
    /// The pause before the first.
    pub delay: Duration,
}

impl Check {
    /// Reads a file's text.
    ///
    /// # Errors
    /// When it says what is not understood.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut all: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        let manner = ["level", "after", "timeout", "retries", "interval", "delay"];
        let (how, what): (toml::Table, toml::Table) =
            std::mem::take(&mut all).into_iter().partition(|(key, _)| manner.contains(&key.as_str()));
        let Manner { level, after, timeout, retries, interval, delay } =
            how.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let kind: Kind = what.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let check = Self { name: name.to_owned(), level, kind, after, timeout, retries, interval, delay };
        check.sound().map(|()| check)
    }

    /// One that runs a program, as its folder says.
    pub(crate) fn program(name: String, level: Level, program: PathBuf) -> Self {
        let kind = Kind::Command { command: vec![program.display().to_string()] };
        let (timeout, interval) = (Duration::from_secs(300), interval());
        Self { name, level, kind, after: Vec::new(), timeout, retries: 0, interval, delay: Duration::ZERO }
    }

    /// The same while a boot waits: into a host container is looked once, and not for long.
    pub(crate) fn at_boot(&self) -> Self {
        match self.kind {
            Kind::HostContainer { .. } => {
                Self { retries: 0, delay: Duration::ZERO, timeout: self.timeout.min(limits::AT_BOOT), ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    fn sound(&self) -> Result<(), String> {
        if self.retries > limits::RETRIES {
            return Err(format!("{} retries are more than {}", self.retries, limits::RETRIES));
        }
        if self.timeout.is_zero() {
            return Err("a timeout of nothing lets no attempt pass".to_owned());
        }
        match &self.kind {
            // Its image may not be there, and whoever serves it decides over no release.
            Kind::HostContainer { .. } if self.level == Level::Required => {
                Err("a check of a host container is 'wanted': no release is bad for what one does".to_owned())
            }
            Kind::Command { command } | Kind::HostContainer { command, .. }
                if command.is_empty() || command.len() > limits::WORDS =>
            {
                Err(format!("a command has 1 to {} words", limits::WORDS))
            }
            Kind::Command { command } if !command[0].starts_with('/') => {
                Err(format!("'{}' is no absolute path of a program", command[0]))
            }
            Kind::Mount { path, .. } if !path.is_absolute() => Err(format!("'{}' is no absolute path", path.display())),
            Kind::Http { url, .. } => match reqwest::Url::parse(url) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(()),
                _ => Err(format!("'{url}' is neither an http:// nor an https:// URL")),
            },
            _ => Ok(()),
        }
    }
}

//! Numbers with units and ranges.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{short, written};

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ranged<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Ranged<MIN, MAX> {
    /// The number.
    pub fn value(self) -> u32 {
        self.0
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Ranged<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = i64::deserialize(deserializer)?;
        match u32::try_from(found) {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(de::Error::custom(format!("{found} is not from {MIN} to {MAX}"))),
        }
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Ranged<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("From{MIN}To{MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// Bytes of memory: a number with `K`, `M`, `G` or `T`, powers of 1024, such as `512M`; at least `4M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct MemorySize(u64);
written!(MemorySize, 24);

impl MemorySize {
    /// The least: with less no program starts.
    pub const LEAST: u64 = 4 << 20;

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for MemorySize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{} is no amount of memory, such as '512M' or '2G'", short(text));
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..split].parse().map_err(|_| wrong())?;
        let shift = match &text[split..] {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(wrong()),
        };
        match number.checked_mul(1 << shift) {
            Some(bytes) if bytes >= Self::LEAST => Ok(Self(bytes)),
            Some(_) => Err(format!("{} is less than {} MiB", short(text), Self::LEAST >> 20)),
            None => Err(wrong()),
        }
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut unit) = (self.0, "");
        for larger in ["K", "M", "G", "T"] {
            if number % 1024 != 0 {
                break;
            }
            (number, unit) = (number / 1024, larger);
        }
        write!(f, "{number}{unit}")
    }
}

/// A length of time with units, such as `30s`, `5min` or `1h 30min`; at most 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct TimeSpan(Duration);
written!(TimeSpan, 64);

impl TimeSpan {
    /// The longest.
    pub const MOST: Duration = Duration::from_secs(30 * 24 * 3600);

    /// How long it is.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for TimeSpan {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // humantime passes over any white space, line ends too.
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        match humantime::parse_duration(text) {
            Ok(time) if printable && time <= Self::MOST => Ok(Self(time)),
            Ok(_) if printable => Err(format!("{} is longer than {} days", short(text), Self::MOST.as_secs() / 86_400)),
            _ => Err(format!("{} is no length of time, such as '30s' or '5min'", short(text))),
        }
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::takes, *};

    #[test]
    fn takes_amounts_with_their_units() {
        takes::<MemorySize>(
            &["4M", "512M", "2G", "1T", "4194304"],
            &["4", "3M", "2 G", "2g", "-1G", "99999999999T", "1.5G"],
        );
        takes::<TimeSpan>(&["30s", "5min", "1h 30min", "0s"], &["5", "31days", "soon", "-5s"]);
        for text in ["4M", "5000K", "2G", "3T", "4194305"] {
            assert_eq!(text.parse::<MemorySize>().unwrap().to_string(), text);
        }
        assert_eq!("90s".parse::<TimeSpan>().unwrap().to_string(), "1m 30s");
    }

    #[test]
    fn a_range_has_two_ends() {
        let read =
            |text: &str| serde_json::from_str::<Ranged<2, 4>>(text).map(Ranged::value).map_err(|e| e.to_string());
        assert_eq!((read("2"), read("4")), (Ok(2), Ok(4)));
        for text in ["1", "5", "-1", "4294967298"] {
            assert!(read(text).unwrap_err().contains("not from 2 to 4"), "{text}");
        }
        assert!(read("\"2\"").is_err() && read("2.5").is_err());
    }
}

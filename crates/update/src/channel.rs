//! A channel: a named line of releases, as its publisher's signed document says it (JSON, one TUF target).
//!
//! Fields that are not known are passed over, so that a later publisher may say more; what would change the meaning of
//! the rest comes with another `format`, which is refused.

use std::{cmp::Ordering, fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use rocketos_model::{ImageReference, ManifestDigest};

/// The only format there is.
pub const FORMAT: u32 = 1;
/// Bytes of a document.
pub const DOCUMENT_BYTES: u64 = 1 << 20;
/// Releases in a document.
pub const RELEASES: usize = 512;
/// Points of a curve.
pub const CURVE_POINTS: usize = 64;
/// How long after its publication a curve may still go on.
pub const CURVE_DAYS: i64 = 365;
/// Characters of a version.
pub const VERSION_CHARS: usize = 64;
/// Characters of notes and of a recall's reason.
pub const TEXT_CHARS: usize = 8 << 10;
/// Characters of a channel's name.
pub const NAME_CHARS: usize = 64;

/// What is wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Not JSON of this form.
    #[error("the channel's document does not parse")]
    Json(#[source] serde_json::Error),
    /// Longer than allowed.
    #[error("the channel's document has {found} bytes; at most {DOCUMENT_BYTES} are read")]
    TooLong {
        /// Its bytes.
        found: u64,
    },
    /// Of a later form.
    #[error(
        "the channel's document has format {0}; this system reads format {FORMAT}: upgrade it by image reference first"
    )]
    Format(u32),
    /// A rule is broken.
    #[error("the channel's document is not sound: {0}")]
    Unsound(String),
}

/// A version, compared as the UAPI Group's Version Format Specification says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl Version {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '~' | '^' | '_');
        match text.len() <= VERSION_CHARS && text.chars().all(allowed) && !text.is_empty() {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("'{text}' is not a version: at most {VERSION_CHARS} of letters, digits and .-+~^_")),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        uapi_version::strverscmp(&self.0, &other.0)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// A point of a [`Curve`]: so long after the publication, this share of the fleet may take the release.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Seconds after the publication.
    pub after: u32,
    /// From 0 to 1.
    pub share: f64,
}

/// How a release opens: straight lines between points; nothing before the first, the last one's share after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Point>", into = "Vec<Point>")]
pub struct Curve(Vec<Point>);

impl Curve {
    /// Open to everybody at once.
    pub fn at_once() -> Self {
        Self(vec![Point { after: 0, share: 1.0 }])
    }

    /// Its points, in order of time.
    pub fn points(&self) -> &[Point] {
        &self.0
    }

    /// The share that may take the release, so long after its publication.
    pub fn share(&self, after: TimeDelta) -> f64 {
        let seconds = after.as_seconds_f64();
        let mut before: Option<Point> = None;
        for point in &self.0 {
            if seconds < f64::from(point.after) {
                return before.map_or(0.0, |start| {
                    let part = (seconds - f64::from(start.after)) / f64::from(point.after - start.after);
                    start.share + (point.share - start.share) * part
                });
            }
            before = Some(*point);
        }
        before.map_or(0.0, |last| last.share)
    }

    /// How long after the publication the share exceeds `position` (0 to 1, without 1); never, where the curve ends below.
    pub fn turn(&self, position: f64) -> Option<TimeDelta> {
        let mut before: Option<Point> = None;
        for point in &self.0 {
            if point.share > position {
                let seconds = before.map_or(f64::from(point.after), |start| {
                    let part = (position - start.share) / (point.share - start.share);
                    f64::from(start.after) + f64::from(point.after - start.after) * part.max(0.0)
                });
                return Some(TimeDelta::milliseconds((seconds * 1000.0).ceil() as i64 + 1));
            }
            before = Some(*point);
        }
        None
    }
}

impl TryFrom<Vec<Point>> for Curve {
    type Error = String;
    fn try_from(points: Vec<Point>) -> Result<Self, String> {
        if points.is_empty() || points.len() > CURVE_POINTS {
            return Err(format!("a curve has 1 to {CURVE_POINTS} points, not {}", points.len()));
        }
        for point in &points {
            if !(0.0..=1.0).contains(&point.share) {
                return Err(format!("{} is not a share: from 0 to 1", point.share));
            }
            if i64::from(point.after) > TimeDelta::days(CURVE_DAYS).num_seconds() {
                return Err(format!("a curve ends within {CURVE_DAYS} days of the publication"));
            }
        }
        match points.is_sorted_by(|a, b| a.after <= b.after && a.share <= b.share) {
            true => Ok(Self(points)),
            false => Err("a curve's times and shares never fall".to_owned()),
        }
    }
}

impl From<Curve> for Vec<Point> {
    fn from(curve: Curve) -> Self {
        curve.0
    }
}

/// One release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// Which variant it is.
    pub variant: String,
    /// For which architecture, in OCI's words.
    pub architecture: String,
    /// Where it is, by name alone: the digest beside it says what it is.
    pub image: ImageReference,
    /// Its manifest's digest.
    pub digest: ManifestDigest,
    /// The earliest version from which it may be taken; from any where absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub earliest: Option<Version>,
    /// When its curve began.
    pub published: DateTime<Utc>,
    /// How it opens.
    #[serde(default = "Curve::at_once")]
    pub curve: Curve,
    /// Whether nodes that have not taken it are to wait.
    #[serde(skip_serializing_if = "is_false", default)]
    pub halted: bool,
    /// Why nodes that have it are to leave it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recalled: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub notes: Option<String>,
}

impl Release {
    /// True where both are one release: of two there can be one in a channel.
    pub fn is_same(&self, other: &Self) -> bool {
        other.version == self.version && other.variant == self.variant && other.architecture == self.architecture
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A channel's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Channel {
    /// [`FORMAT`].
    pub format: u32,
    /// Its name.
    pub channel: String,
    /// Its releases, in any order.
    #[serde(default)]
    pub releases: Vec<Release>,
}

/// Only its format, which says whether the rest can be read.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

impl Channel {
    /// Reads a document and checks it.
    ///
    /// # Errors
    /// When it is no such document, of another format, beyond a limit, or names two different releases as one.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChannelError> {
        if bytes.len() as u64 > DOCUMENT_BYTES {
            return Err(ChannelError::TooLong { found: bytes.len() as u64 });
        }
        let header: Header = serde_json::from_slice(bytes).map_err(ChannelError::Json)?;
        if header.format != FORMAT {
            return Err(ChannelError::Format(header.format));
        }
        let channel: Self = serde_json::from_slice(bytes).map_err(ChannelError::Json)?;
        channel.check().map_err(ChannelError::Unsound)?;
        Ok(channel)
    }

    /// One without releases.
    pub fn new(name: &str) -> Self {
        Self { format: FORMAT, channel: name.to_owned(), releases: Vec::new() }
    }

    /// The document, checked as nodes will.
    ///
    /// # Errors
    /// When nodes would refuse it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ChannelError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(ChannelError::Json)?;
        bytes.push(b'\n');
        Self::parse(&bytes).map(|_| bytes)
    }

    /// True where `name` may be a channel's: lower-case letters, digits and inner hyphens.
    pub fn is_name(name: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !name.is_empty()
            && name.len() <= NAME_CHARS
            && name.bytes().all(allowed)
            && !name.starts_with('-')
            && !name.ends_with('-')
    }

    fn check(&self) -> Result<(), String> {
        if !Self::is_name(&self.channel) {
            return Err(format!(
                "'{}' is not a channel's name: lower-case letters, digits and inner hyphens",
                self.channel
            ));
        }
        if self.releases.len() > RELEASES {
            return Err(format!("it has {} releases; at most {RELEASES} are read", self.releases.len()));
        }
        for (index, release) in self.releases.iter().enumerate() {
            let name = format!("release {} ({}, {})", release.version, release.variant, release.architecture);
            for text in [&release.recalled, &release.notes].into_iter().flatten() {
                if text.len() > TEXT_CHARS {
                    return Err(format!("{name} has a text of {} bytes; at most {TEXT_CHARS} are read", text.len()));
                }
            }
            if !matches!(release.image, ImageReference::Registry { .. }) {
                return Err(format!("{name} is not in a registry: {}", release.image));
            }
            if self.releases[..index].iter().any(|other| other.is_same(release)) {
                return Err(format!("{name} is there twice"));
            }
        }
        Ok(())
    }
}

//! How a release opens: `--curve` and `--published`.

use std::path::Path;

use anyhow::Context as _;
use chrono::{DateTime, SubsecRound as _, Utc};
use rocketos_update::{Curve, Release, Version};

use crate::{args::Terms, publisher};

/// Bytes of a curve's file.
const CURVE_BYTES: u64 = 64 << 10;

/// Reads a curve.
pub fn curve(file: &Path) -> anyhow::Result<Curve> {
    let text = publisher::read_file(file, CURVE_BYTES)?.with_context(|| format!("{} is not there", file.display()))?;
    serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} is no curve, such as [{{\"after\": 0, \"share\": 0.01}}, {{\"after\": 86400, \"share\": 1}}]",
            file.display()
        )
    })
}

/// The curve that was given, else none but at once; and when it begins.
pub fn terms(terms: &Terms) -> anyhow::Result<(Curve, DateTime<Utc>)> {
    let curve = terms.curve.as_deref().map_or_else(|| Ok(Curve::at_once()), curve)?;
    Ok((curve, terms.published.unwrap_or_else(Utc::now).trunc_subsecs(0)))
}

/// Reads a version.
pub fn version(text: &str) -> anyhow::Result<Version> {
    text.parse().map_err(anyhow::Error::msg)
}

/// The releases of a version, of which there has to be one.
pub fn of_version<'a>(
    releases: &'a mut [Release],
    version: &Version,
    channel: &str,
) -> anyhow::Result<Vec<&'a mut Release>> {
    let known: Vec<String> = releases.iter().map(|release| release.version.to_string()).collect();
    let found: Vec<_> = releases.iter_mut().filter(|release| release.version == *version).collect();
    if found.is_empty() {
        let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        anyhow::bail!("channel {channel} has no release {version}; it has {known}");
    }
    Ok(found)
}

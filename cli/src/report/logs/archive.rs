//! The report as one file: a tar archive, deflated. The manifest comes first, everything else in the manifest's order.

use std::io::{self, Read as _};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use super::{Manifest, Member, limits};

/// What every path in it begins with.
pub const FOLDER: &str = "rocketos-report";
/// The manifest's path.
const MANIFEST: &str = "manifest.json";
/// Bytes of a manifest.
const MANIFEST_BYTES: u64 = 8 << 20;

/// Writes it.
pub fn pack(manifest: &Manifest, members: &[Member]) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let text = serde_json::to_vec_pretty(manifest).context("writing the manifest")?;
    add(&mut tar, MANIFEST, &text, manifest.taken)?;
    for member in members {
        add(&mut tar, &member.path, &member.bytes, manifest.taken)?;
    }
    let packed = tar.into_inner().and_then(GzEncoder::finish);
    packed.context("packing the report")
}

fn add(tar: &mut tar::Builder<impl io::Write>, path: &str, bytes: &[u8], taken: DateTime<Utc>) -> anyhow::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    header.set_mtime(taken.timestamp().try_into().unwrap_or(0));
    tar.append_data(&mut header, format!("{FOLDER}/{path}"), bytes).with_context(|| format!("packing {path}"))
}

/// The manifest of a report.
pub fn manifest(packed: &[u8]) -> anyhow::Result<Manifest> {
    let doing = "reading the report's manifest";
    // No more is unpacked than a report may have.
    let most = limits::BYTES + MANIFEST_BYTES;
    let mut archive = tar::Archive::new(GzDecoder::new(packed).take(most));
    let first = archive.entries().context(doing)?.next().context(doing)?.context(doing)?;
    ensure!(first.size() <= MANIFEST_BYTES, "the report's manifest has more than {MANIFEST_BYTES} bytes");
    serde_json::from_reader(first).context(doing)
}

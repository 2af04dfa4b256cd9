//! The bill of materials: CycloneDX 1.6 in JSON.
//!
//! A component for every package of which a file reaches the image, and one for Rocket OS's own program. The serial
//! number is made from the content (CycloneDX wants a UUID; RFC 9562 calls this one version 8), the time from the caller.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use crate::{
    SealError, copyright::licences, error::read_text, groups, packages::Packages, plan::Plan, release::Release,
    survey::Kind,
};

/// Bytes of Debian's version, a short line.
const DEBIAN_VERSION_BYTES: u64 = 4096;

/// Makes the document. `newest` is its time, in seconds since 1970.
pub(crate) fn document(
    root: &Path,
    packages: &Packages,
    plan: &Plan,
    release: &Release,
    newest: i64,
) -> Result<Vec<u8>, SealError> {
    let distribution = distribution(root, release)?;
    let survivors: BTreeSet<usize> = plan
        .kept
        .iter()
        .filter(|(_, entry)| entry.kind != Kind::Directory)
        .flat_map(|(path, _)| packages.owners(path).iter().copied())
        .collect();
    let mut components = Vec::new();
    if plan.kept.contains_key(groups::PROGRAM) {
        components.push(json!({
            "type": "application",
            "bom-ref": "rocketctl",
            "name": "rocketctl",
            "version": env!("CARGO_PKG_VERSION"),
            "licenses": [{ "expression": env!("CARGO_PKG_LICENSE") }],
            "purl": format!("pkg:generic/rocketctl@{}", env!("CARGO_PKG_VERSION")),
        }));
    }
    for package in survivors.iter().map(|index| &packages.list[*index]) {
        let purl = format!(
            "pkg:deb/debian/{}@{}?arch={}&distro={distribution}",
            escape(&package.name),
            escape(&package.version),
            package.architecture
        );
        let mut component = json!({
            "type": "library",
            "bom-ref": purl,
            "supplier": { "name": package.maintainer },
            "name": package.name,
            "version": package.version,
            "description": package.summary,
            "purl": purl,
            "properties": [
                { "name": "rocketos:source", "value": package.source },
                { "name": "rocketos:source-version", "value": package.source_version },
            ],
        });
        let licences: Vec<Value> =
            licences(root, &package.name)?.into_iter().map(|name| json!({ "license": { "name": name } })).collect();
        if !licences.is_empty() {
            component["licenses"] = licences.into();
        }
        if package.homepage.starts_with("http") {
            component["externalReferences"] = json!([{ "type": "website", "url": package.homepage }]);
        }
        components.push(component);
    }
    let name = release.field("NAME").unwrap_or("Rocket OS");
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": timestamp(newest),
            "tools": { "components": [
                { "type": "application", "name": "rocketctl", "version": env!("CARGO_PKG_VERSION") },
            ] },
            "component": {
                "type": "operating-system",
                "bom-ref": "image",
                "name": match release.field("VARIANT_ID") {
                    Some(variant) => format!("{name} {variant}"),
                    None => name.to_owned(),
                },
                "version": release.version(),
            },
        },
        "components": components,
    });
    let content = openssl::sha::sha256(document.to_string().as_bytes());
    document["serialNumber"] = format!("urn:uuid:{}", uuid(&content)).into();
    let mut out =
        serde_json::to_vec_pretty(&document).map_err(|error| SealError::write("sbom.cdx.json")(error.into()))?;
    out.push(b'\n');
    Ok(out)
}

/// What a purl calls the distribution: `debian-13`.
fn distribution(root: &Path, release: &Release) -> Result<String, SealError> {
    let version = read_text(root, "etc/debian_version", DEBIAN_VERSION_BYTES)?.unwrap_or_default();
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    Ok(match release.field("VERSION_CODENAME") {
        _ if !major.is_empty() => format!("debian-{major}"),
        Some(codename) => escape(codename),
        None => "debian".to_owned(),
    })
}

/// Percent-encodes as package URLs want it.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// A UUID, version 8, of the first 16 bytes of a hash.
fn uuid(hash: &[u8; 32]) -> String {
    let hex: String = hash[..16]
        .iter()
        .enumerate()
        .map(|(index, byte)| match index {
            6 => (byte & 0x0f) | 0x80,
            8 => (byte & 0x3f) | 0x80,
            _ => *byte,
        })
        .map(|byte| format!("{byte:02x}"))
        .collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// RFC 3339 in UTC.
fn timestamp(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_names_and_serials_as_their_standards_say() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(timestamp(1_798_761_599), "2026-12-31T23:59:59Z");
        assert_eq!(escape("1:2.0+dfsg-1"), "1%3A2.0%2Bdfsg-1");
        assert_eq!(uuid(&[0xff; 32]), "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }
}

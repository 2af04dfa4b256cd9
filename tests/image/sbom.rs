//! The bill of materials: attached by `rocketctl`, read back from the registry, and true.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use rocketos_tests::command::Run;
use rocketos_tests::images::copy_out;
use rocketos_tests::paths;
use serde_json::Value;

use crate::published::{Published, Pulled, VERSION, runtime};

/// Media type and artifact type (CycloneDX 1.6, "Media types").
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";

#[test]
fn an_attached_bill_of_materials_is_read_back_from_the_registry() -> Result<()> {
    let published = Published::new()?;
    let (release, _) = published.standalone()?;
    let reference = published.push(&release.image, "rocketos/standalone")?;
    let file = published.scratch.path().join("sbom.cdx.json");
    copy_out(&format!("localhost/rocketos/standalone-sealed:{VERSION}"), "/sealed/sbom.cdx.json", &file)?;
    for _ in 0..2 {
        let said = Run::new(paths::target().join("release/rocketctl"))
            .args(["image", "attach", &reference.to_string(), "--file"])
            .arg(&file)
            .env("CONTAINERS_REGISTRIES_CONF", published.registries_conf()?)
            .output()?;
        ensure!(said.starts_with("Attached "), "rocketctl said: {said}");
    }
    let reader = published.reader()?;
    let (count, bytes) = runtime()?.block_on(async {
        let found = reader.referrers(&reference, CYCLONEDX).await?;
        let first = found.first().context("nothing is attached")?;
        anyhow::Ok((found.len(), reader.attached(&reference, first).await?))
    })?;
    ensure!(count == 1, "attached twice, found {count} times");
    ensure!(bytes == std::fs::read(&file)?, "what comes back is not what was attached");
    let document: Value = serde_json::from_slice(&bytes)?;
    ensure!(document["bomFormat"] == "CycloneDX" && document["specVersion"] == "1.6");
    ensure!(document["metadata"]["component"]["version"] == VERSION, "{}", document["metadata"]);
    let serial = document["serialNumber"].as_str().unwrap_or_default();
    ensure!(serial.strip_prefix("urn:uuid:").is_some_and(|uuid| uuid.len() == 36), "the serial is {serial}");
    for component in document["components"].as_array().context("no components")? {
        for field in ["type", "name", "version", "purl", "bom-ref"] {
            ensure!(component[field].is_string(), "a component without {field}: {component}");
        }
    }
    Ok(())
}

#[test]
fn the_bill_of_materials_lists_exactly_the_packages_whose_files_survive() -> Result<()> {
    let published = Published::new()?;
    let (_, pulled) = published.standalone()?;
    let file = published.scratch.path().join("listed.cdx.json");
    copy_out(&format!("localhost/rocketos/standalone-sealed:{VERSION}"), "/sealed/sbom.cdx.json", &file)?;
    let document: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let components = document["components"].as_array().context("no components")?;
    let listed: BTreeSet<&str> = components
        .iter()
        .filter(|component| component["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:deb/")))
        .filter_map(|component| component["name"].as_str())
        .collect();

    let surviving: BTreeSet<String> = surviving(&published, &pulled)?;
    let missing: Vec<&String> = surviving.iter().filter(|name| !listed.contains(name.as_str())).collect();
    ensure!(missing.is_empty(), "in the image and not listed: {missing:?}");
    let extra: Vec<&&str> = listed.iter().filter(|name| !surviving.contains(**name)).collect();
    ensure!(extra.is_empty(), "listed and not in the image: {extra:?}");
    ensure!(listed.contains("systemd") && !listed.contains("apt") && !listed.contains("perl-base"), "{listed:?}");
    Ok(())
}

/// Packages of which a file that is no folder is in the image, by the package database of its root.
fn surviving(published: &Published, pulled: &Pulled) -> Result<BTreeSet<String>> {
    let folder = published.scratch.path().join("dpkg-info");
    copy_out(&format!("localhost/rocketos/standalone-rootfs:{VERSION}"), "/var/lib/dpkg/info", &folder)?;
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(package) = name.strip_suffix(".list") else { continue };
        let package = package.split(':').next().unwrap_or(package).to_owned();
        for path in std::fs::read_to_string(entry.path())?.lines() {
            owners.entry(merged(path)).or_default().push(package.clone());
        }
    }
    let files = pulled.files.iter().filter(|(_, entry)| !entry.is_folder());
    Ok(files.filter_map(|(path, _)| owners.get(path)).flatten().cloned().collect())
}

/// Where a path of the package database lies now that /bin, /lib and /sbin are links into /usr.
fn merged(path: &str) -> String {
    let below = ["/bin/", "/lib/", "/lib64/", "/sbin/"].iter().any(|top| path.starts_with(top));
    if below { format!("/usr{path}") } else { path.to_owned() }
}

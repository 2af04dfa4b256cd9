//! The lock of Debian's packages: complete, heeded where it can be, and told where it is not.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rocketos_tests::images::{copy_out, podman_build};
use rocketos_tests::paths;

use crate::published::{Published, VERSION};

/// Fields of a stanza of dpkg's database.
const FIELDS: [&str; 2] = ["Package: ", "Version: "];

#[test]
fn the_lock_names_every_installed_package() -> Result<()> {
    let published = Published::new()?;
    let locked = locked()?;
    for variant in ["standalone", "dev"] {
        published.variant(variant)?;
        let installed = installed(&published, variant)?;
        let missing: Vec<&String> = installed.keys().filter(|name| !locked.contains_key(*name)).collect();
        ensure!(missing.is_empty(), "{variant} has packages that base/packages.lock lacks: {missing:?}");
        // Debian moves on: that fails no build but a release's (base/README.md).
        for (name, version) in installed.iter().filter(|(name, version)| locked.get(*name) != Some(*version)) {
            published.progress.say(&format!("{variant}: {name} is {version}, locked is {}", locked[name]));
        }
    }
    Ok(())
}

#[test]
fn an_image_with_a_package_that_is_not_locked_is_refused() -> Result<()> {
    let published = Published::new()?;
    published.derived("repacked")?;
    let checked = podman_build()
        .args(["--no-cache", "-f", "Containerfile.d/41-locked", "--build-arg"])
        .args([&format!("IMAGE=localhost/rocketos/repacked-rootfs:{VERSION}"), "."])
        .outcome()?;
    let said = format!("{}{}", checked.1, checked.2);
    ensure!(!checked.0.success() && said.contains("dosfstools") && said.contains("+next1"), "it said: {said}");
    Ok(())
}

/// Versions by package, as the lock has them.
fn locked() -> Result<BTreeMap<String, String>> {
    let file = paths::workspace().join("base/packages.lock");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, version, "amd64" | "all", sum] = words[..] else {
            anyhow::bail!("'{line}' is not: name, version, architecture, SHA-256");
        };
        ensure!(sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()), "'{line}' has no SHA-256");
        ensure!(all.insert(name.to_owned(), version.to_owned()).is_none(), "{name} is locked twice");
    }
    Ok(all)
}

/// Versions by package, as dpkg has them in the unsealed root of a variant; our own packages aside.
fn installed(published: &Published, variant: &str) -> Result<BTreeMap<String, String>> {
    let file = published.scratch.path().join(format!("{variant}.status"));
    copy_out(&format!("localhost/rocketos/{variant}-rootfs:{VERSION}"), "/var/lib/dpkg/status", &file)?;
    let mut all = BTreeMap::new();
    for stanza in std::fs::read_to_string(&file)?.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let [Some(package), Some(version)] = FIELDS.map(field) else { continue };
        if !package.starts_with("rocketos-") {
            all.insert(package, version);
        }
    }
    ensure!(!all.is_empty(), "{variant} has no packages");
    Ok(all)
}

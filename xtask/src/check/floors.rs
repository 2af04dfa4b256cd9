//! Who stands on whom: every dependency between our packages leads to a lower floor.

use anyhow::{Context, Result};
use serde_json::Value;

/// Package and floor; the tools of the workspace are above all of them.
const FLOORS: &[(&str, u32)] = &[
    ("rocketos-sys", 0),
    ("rocketos-model", 1),
    ("rocketos-dropins", 1),
    ("rocketos-store", 2),
    ("rocketos-boot", 2),
    ("rocketos-trust", 2),
    ("rocketos-update", 2),
    ("rocketos-health", 2),
    ("rocketos-firewall", 2),
    ("rocketos-denial", 2),
    ("rocketos-settings", 2),
    ("rocketos-api", 3),
    ("rocketos-deploy", 3),
    ("rocketos-oci", 3),
    ("rocketos-image", 3),
    ("rocketos-initramfs", 3),
    ("rocketos-enter", 3),
    ("rocketos-control", 3),
    ("rocketos-admin", 3),
    ("rocketctl", 4),
    ("rocketos-tests", 4),
    ("rocketos-fuzz", 4),
    ("rocketos-replay", 4),
    ("xtask", 5),
    ("rocketos-bench", 5),
];
/// Who may use the only package with `unsafe`: those that must, and the tests, which read partition tables with it.
const USE_SYS: &[&str] = &[
    "rocketos-store",
    "rocketos-boot",
    "rocketos-deploy",
    "rocketos-initramfs",
    "rocketos-tests",
    "rocketos-fuzz",
    "rocketos-replay",
];

/// Returns each dependency that leads up or sideways, and each package without a floor.
pub(super) fn check(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let ours = packages.iter().filter(|package| package["source"].is_null());
    let mut wrong = Vec::new();
    for package in ours {
        let name = package["name"].as_str().context("a package without a name")?;
        let Some(floor) = floor(name) else {
            wrong.push(format!("{name} has no floor: name one in xtask/src/check/floors.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().context("a dependency without a name")?;
            // What only tests use may stand beside.
            if dependency["path"].is_null() || dependency["kind"] == "dev" {
                continue;
            }
            if self::floor(on).is_none_or(|lower| lower >= floor) {
                wrong.push(format!("{name} must not depend on {on}, which is not below it"));
            }
            if on == "rocketos-sys" && !USE_SYS.contains(&name) {
                wrong.push(format!("{name} must not depend on rocketos-sys"));
            }
        }
    }
    Ok(wrong)
}

fn floor(name: &str) -> Option<u32> {
    FLOORS.iter().find(|(package, _)| *package == name).map(|(_, floor)| *floor)
}

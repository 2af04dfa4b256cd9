//! The figures that README shows: those of the newest run, beside their budgets and what others have.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use rocketos_tests::paths;
use serde_json::Value;

use crate::figure::{Budget, MEMORY_MIB, STANDALONE_MB, USER_SPACE, name};

/// What encloses them.
const BEGIN: &str = "<!-- figures, by `cargo xtask bench --readme` -->\n";
const END: &str = "<!-- end of figures -->";

/// A line: what, the figure's name, its unit and digits after the point, its budget, what others have.
struct Line(&'static str, &'static str, &'static str, usize, Option<Budget>, &'static str);

const LINES: &[Line] = &[
    Line(
        "sealed `standalone`, compressed, without firmware and kernel modules",
        name::STANDALONE,
        "MB",
        1,
        Some(STANDALONE_MB),
        "Flatcar 383–482 MB; fedora-bootc about 1 GB; Bottlerocket's root of 2019 42.6 MB",
    ),
    Line("its kernel modules, as Debian compresses and signs them", name::MODULES, "MB", 1, None, ""),
    Line("all of it, as a registry serves it", name::WHOLE, "MB", 1, None, ""),
    Line("memory in use after boot, podman idle", name::MEMORY, "MiB", 0, Some(MEMORY_MIB), ""),
    Line(
        "user space of a boot, in times of what it was before this was looked at",
        name::USER_SPACE_BEFORE,
        "",
        2,
        Some(USER_SPACE),
        "",
    ),
    Line(
        "kernel of a boot",
        name::KERNEL,
        "s",
        1,
        None,
        "Bottlerocket, the whole boot: 2.8 s under KVM, 6.7–10.9 s on EC2",
    ),
    Line("initramfs of a boot", name::INITRAMFS, "s", 1, None, ""),
    Line("user space of a boot", name::USER_SPACE, "s", 1, None, ""),
];

/// Writes README anew with what is in the folder of results.
pub(super) fn write(results: &Path) -> Result<()> {
    let mut figures = BTreeMap::new();
    for measurement in ["size", "boot"] {
        let file = results.join(format!("{measurement}.json"));
        let Ok(text) = std::fs::read_to_string(&file) else {
            eprintln!("{} is not there: 'cargo xtask bench {measurement}' writes it", file.display());
            continue;
        };
        figures.extend(read(&text).with_context(|| format!("reading {}", file.display()))?);
    }
    let readme = paths::workspace().join("README.md");
    let text = std::fs::read_to_string(&readme).with_context(|| format!("reading {}", readme.display()))?;
    let new = replaced(&text, &table(&figures)).with_context(|| format!("looking into {}", readme.display()))?;
    std::fs::write(&readme, new).with_context(|| format!("writing {}", readme.display()))
}

/// The figures of a measurement, by name.
fn read(text: &str) -> Result<BTreeMap<String, f64>> {
    let document: Value = serde_json::from_str(text)?;
    let figures = document["figures"].as_array().context("no figures")?;
    let figure = |figure: &Value| Some((figure["what"].as_str()?.to_owned(), figure["value"].as_f64()?));
    Ok(figures.iter().filter_map(figure).collect())
}

fn table(figures: &BTreeMap<String, f64>) -> String {
    let mut table = "| | here | at most | others |\n|---|---|---|---|\n".to_owned();
    for Line(what, name, unit, digits, budget, others) in LINES {
        let with_unit = |number: String| format!("{number} {unit}").trim_end().to_owned();
        let found = figures.get(*name).filter(|value| value.is_finite());
        let here = match (found, budget) {
            (None, _) => "not measured yet".to_owned(),
            (Some(value), Some(Budget(most))) if value > most => {
                format!("{}: **missed**", with_unit(format!("{value:.digits$}")))
            }
            (Some(value), _) => with_unit(format!("{value:.digits$}")),
        };
        let most = budget.map(|Budget(most)| with_unit(most.to_string())).unwrap_or_default();
        table += &format!("| {what} | {here} | {most} | {others} |\n");
    }
    table
}

/// A text with a table between the marks.
fn replaced(text: &str, table: &str) -> Result<String> {
    let (before, rest) = text.split_once(BEGIN).context("no beginning of the figures")?;
    let (_, after) = rest.split_once(END).context("no end of the figures")?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = include_str!("../../../README.md");

    #[test]
    fn the_readme_has_a_place_for_every_figure() {
        let (_, rest) = README.split_once(BEGIN).unwrap();
        let shown = rest.split_once(END).unwrap().0;
        for Line(what, ..) in LINES {
            assert!(shown.contains(&format!("| {what} | ")), "README lacks: {what}");
        }
        assert_eq!(shown.lines().count(), LINES.len() + 2);
    }

    #[test]
    fn puts_what_was_measured_between_the_marks() {
        let json = format!(
            r#"{{"figures": [{{"what": "{}", "value": 99.96, "unit": "MB"}}, {{"what": "{}", "value": 130.2}}]}}"#,
            name::STANDALONE,
            name::MEMORY
        );
        let table = table(&read(&json).unwrap());
        assert!(table.contains("kernel modules | 100.0 MB | 100 MB | Flatcar"), "{table}");
        assert!(table.contains("podman idle | 130 MiB: **missed** | 120 MiB |"), "{table}");
        assert!(table.contains("before this was looked at | not measured yet | 0.6 |"), "{table}");
        let text = format!("a\n{BEGIN}old\n{END}\nb\n");
        assert_eq!(replaced(&text, "new\n").unwrap(), format!("a\n{BEGIN}new\n{END}\nb\n"));
        assert!(replaced("a\n", "new").is_err() && replaced(BEGIN, "new").is_err());
    }
}

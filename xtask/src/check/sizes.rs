//! Sizes of files and functions, and where `unsafe` is, as git's files have them.
//!
//! Functions are found by the indentation rustfmt gives: a line with `fn ` up to the closing brace below it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rocketos_tests::command::Run;
use rocketos_tests::paths;
use serde_json::Value;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 100;
/// The only folder with `unsafe`.
const UNSAFE_IN: &str = "crates/sys/";

/// Returns each file and function that is too long; tests at a file's end do not count.
pub(super) fn check(_: &Value) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (file, text) in sources()? {
        let lines: Vec<&str> = text.lines().take_while(|line| *line != "#[cfg(test)]").collect();
        if lines.len() > FILE_LINES {
            wrong.push(format!("{} has {} lines, more than {FILE_LINES}", file.display(), lines.len()));
        }
        for (at, name, length) in functions(&lines).into_iter().filter(|(_, _, length)| *length > FUNCTION_LINES) {
            wrong.push(format!("{}:{at}: {name} has {length} lines, more than {FUNCTION_LINES}", file.display()));
        }
    }
    Ok(wrong)
}

/// Returns each line that opens an `unsafe` block elsewhere than where it is allowed.
pub(super) fn unsafe_code(_: &Value) -> Result<Vec<String>> {
    // Put together here, or this file would find itself.
    let words = [" {", " fn ", " impl "].map(|tail| format!("unsafe{tail}"));
    let mut wrong = Vec::new();
    for (file, text) in sources()?.into_iter().filter(|(file, _)| !file.starts_with(UNSAFE_IN)) {
        for (index, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word.as_str())) {
                wrong.push(format!("{}:{}: unsafe outside {UNSAFE_IN}", file.display(), index + 1));
            }
        }
    }
    Ok(wrong)
}

pub(super) fn sources() -> Result<Vec<(PathBuf, String)>> {
    let list = Run::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"]).output()?;
    let read = |name: &str| {
        let path = paths::workspace().join(name);
        // Listed, but removed from the checkout.
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        Ok(Some((Path::new(name).to_owned(), text)))
    };
    list.lines().filter_map(|name| read(name).transpose()).collect()
}

/// Returns first line, name and length of each function.
pub(super) fn functions(lines: &[&str]) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let Some((before, rest)) = code.split_once("fn ") else { continue };
        let plain = |word: &str| {
            word.starts_with("pub")
                || ["const", "async", "unsafe", "extern", "super)", "crate)", "\"C\""].contains(&word)
        };
        if !before.split_whitespace().all(plain) {
            continue;
        }
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| *line == end || *line == format!("{end},"));
        found.push((start + 1, name, length.map_or(1, |length| length + 1)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::functions;

    #[test]
    fn finds_functions_with_their_lengths() {
        let text = "pub fn one() {\n    x();\n}\nimpl A {\n    pub(super) fn two(&self) {\n        y();\n        z();\n    }\n}";
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(functions(&lines), [(1, "one".to_owned(), 3), (5, "two".to_owned(), 4)]);
    }
}

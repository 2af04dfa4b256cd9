//! Licences of everything we link: each dependency offers at least one we may take.

use anyhow::{Context, Result};
use serde_json::Value;

/// SPDX identifiers that go with Apache-2.0 OR MIT in a distributed program.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "NCSA",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Returns each package none of whose licences is allowed.
pub(super) fn check(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let wrong = packages.iter().filter_map(|package| {
        let name = package["name"].as_str().unwrap_or_default();
        match package["license"].as_str() {
            Some(expression) if allows(expression) => None,
            Some(expression) => Some(format!("{name} is licensed {expression}")),
            None => Some(format!("{name} names no licence")),
        }
    });
    Ok(wrong.collect())
}

/// Decides an SPDX expression: one side of each OR is enough, both of each AND are needed.
fn allows(expression: &str) -> bool {
    let expression = expression.trim();
    if let Some((left, right)) = split(expression, " OR ").or_else(|| split(expression, "/")) {
        return allows(left) || allows(right);
    }
    if let Some((left, right)) = split(expression, " AND ") {
        return allows(left) && allows(right);
    }
    match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => allows(inner),
        None => ALLOWED.contains(&expression),
    }
}

/// Splits at the first operator outside parentheses.
fn split<'a>(expression: &'a str, operator: &str) -> Option<(&'a str, &'a str)> {
    expression.match_indices(operator).find_map(|(at, _)| {
        let (left, right) = (&expression[..at], &expression[at + operator.len()..]);
        (left.matches('(').count() == left.matches(')').count()).then_some((left, right))
    })
}

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn decides_spdx_expressions() {
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
            ("(GPL-2.0-only OR LGPL-2.1-only) AND MIT", false),
        ] {
            assert_eq!(allows(expression), expected, "{expression}");
        }
    }
}

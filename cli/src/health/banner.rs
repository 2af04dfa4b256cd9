//! What stands above the login prompt of a node on which a release failed.

use std::{fs, path::Path};

use anyhow::Context as _;
use rocketos_deploy::{Failure, Node};

/// Read by agetty(8) and what else prompts.
const FILE: &str = "/run/issue.d/60-rocketos.issue";

/// Writes it, or takes it away where nothing failed.
pub fn write() -> anyhow::Result<()> {
    let (node, path) = (Node::running()?, Path::new(FILE));
    let Some(text) = node.failures()?.first().map(text) else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("removing the banner"),
            _ => Ok(()),
        };
    };
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).and_then(|()| fs::write(path, text)).with_context(|| format!("writing {FILE}"))
}

/// agetty takes a backslash for the beginning of its own words.
fn text(failure: &Failure) -> String {
    let version = failure.version.as_deref().unwrap_or("without a version");
    let line = format!("Release {version} failed on this node ({}): {}.", failure.when, failure.reason);
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{}\n'rocketctl status' says more.\n\n", line.replace('\\', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_nothing_to_the_prompt_itself() {
        let failure = Failure {
            manifest_digest: format!("sha256:{}", "ab".repeat(32)).parse().unwrap(),
            version: None,
            when: "2026-11-22T00:00:00Z".to_owned(),
            reason: "a\\4{eth0}\nb\x1b[2J".to_owned(),
        };
        let text = text(&failure);
        assert!(!text.contains('\\') && !text.contains('\x1b') && text.lines().count() == 3, "{text:?}");
    }
}

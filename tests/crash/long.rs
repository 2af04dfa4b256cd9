//! The long run's memory: what is done is not done again, and the whole is written down with its date.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rocketos_tests::fixture::Fixture;
use rocketos_tests::{paths, results};

/// What is known, one line each, for the releases of this fixture.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    lines: Vec<String>,
}

impl Journal {
    /// Takes up what an earlier run left.
    pub fn open(fixture: &Fixture) -> Result<Self> {
        let short = |digest: &String| digest.trim_start_matches("sha256:").chars().take(12).collect::<String>();
        let name = fixture.digests.iter().map(short).collect::<Vec<_>>().join("-");
        let folder = paths::work().join("long").join(format!("crash-{name}"));
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let file = folder.join("journal");
        let lines = match std::fs::read_to_string(&file) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
        };
        Ok(Self { folder, lines })
    }

    /// Where the recording lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is known of something, by the beginning of its line.
    pub fn known(&self, what: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(what)?.strip_prefix(": "))
    }

    /// Keeps one more.
    pub fn add(&mut self, what: &str, outcome: &str) -> Result<()> {
        let path = self.folder.join("journal");
        let failed = || format!("writing {}", path.display());
        let mut file = std::fs::File::options().create(true).append(true).open(&path).with_context(failed)?;
        let line = format!("{what}: {outcome}");
        writeln!(file, "{line}").with_context(failed)?;
        self.lines.push(line);
        Ok(())
    }

    /// Writes the result into the checkout and forgets the rest; returns where it is.
    pub fn finish(self, accelerator: &str, digests: &[String]) -> Result<PathBuf> {
        let mut text = format!(
            "States that a power cut may leave of recorded operations, each judged as firmware, loader and \
             initramfs find it;\nsome seen by fsck too, some booted under {accelerator} and upgraded again. Releases:\n"
        );
        for digest in digests {
            writeln!(text, "`{digest}`")?;
        }
        text.push_str("\n| what | outcome |\n|---|---|\n");
        for line in &self.lines {
            let (what, outcome) = line.split_once(": ").unwrap_or((line, ""));
            writeln!(text, "| {what} | {outcome} |")?;
        }
        let file = results::write("crash", "Power cuts", &text)?;
        std::fs::remove_dir_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))?;
        Ok(file)
    }
}

//! The long run's memory: cuts that are done are not done again, and the whole is written down with its date.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rocketos_tests::fixture::Fixture;
use rocketos_tests::paths;

/// Where results are kept, in the checkout.
const RESULTS: &str = "docs/results";

/// What is known of each cut, one line each, for the two releases of this fixture.
#[derive(Debug)]
pub struct Journal {
    file: PathBuf,
    lines: Vec<String>,
}

impl Journal {
    /// Takes up what an earlier run left.
    pub fn open(fixture: &Fixture) -> Result<Self> {
        let short = |digest: &String| digest.trim_start_matches("sha256:")[..12].to_owned();
        let name = fixture.digests[..2].iter().map(short).collect::<Vec<_>>().join("-");
        let folder = paths::work().join("long");
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let file = folder.join(format!("power-cuts-{name}"));
        let lines = match std::fs::read_to_string(&file) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
        };
        Ok(Self { file, lines })
    }

    /// Cuts that are done: they are done in order.
    pub fn done(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }

    /// Keeps one more.
    pub fn add(&mut self, line: String) -> Result<()> {
        let failed = || format!("writing {}", self.file.display());
        let mut file = std::fs::File::options().create(true).append(true).open(&self.file).with_context(failed)?;
        writeln!(file, "{line}").with_context(failed)?;
        self.lines.push(line);
        Ok(())
    }

    /// Writes the result into the checkout and forgets the cuts; returns where it is.
    pub fn finish(self, accelerator: &str, digests: &[String]) -> Result<PathBuf> {
        let date = chrono::Utc::now().format("%Y-%m-%d");
        let mut text = format!(
            "# Power cuts, {date}\n\n{} cuts of an upgrade, emulated by {accelerator}, from\n`{}` to\n`{}`. Each disk was \
             judged as firmware, loader and initramfs\nfind it, booted, and upgraded again.\n\n| cut | after | booted |\n|---|---|---|\n",
            self.lines.len(),
            digests[0],
            digests[1],
        );
        for (number, line) in (1..).zip(&self.lines) {
            writeln!(text, "| {number} | {line} |")?;
        }
        let folder = paths::workspace().join(RESULTS);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let file = folder.join(format!("{date}-power-cuts.md"));
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        std::fs::remove_file(&self.file).with_context(|| format!("removing {}", self.file.display()))?;
        Ok(file)
    }
}

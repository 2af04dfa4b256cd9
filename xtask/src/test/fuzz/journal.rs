//! The memory of fuzzing on this machine: slices that are done are not done again.
//!
//! ```text
//! target/work/long/fuzz/
//!   <parsers>/<target>        one line for each slice with this very program
//!   <target>/corpus           inputs, kept from one program to the next
//!   <target>/findings         what crashed, the last log
//!   findings                  one line for each finding that is not on the page yet
//! ```

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use rocketos_tests::{command::Run, paths};

/// Hexadecimal digits of the program's digest that name it.
const DIGITS: usize = 16;

/// What one run of libFuzzer said, or several together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) cpu: Duration,
    pub(super) executions: u64,
    /// Edges, as libFuzzer counts them.
    pub(super) coverage: u64,
    /// Inputs that are kept.
    pub(super) corpus: u64,
    pub(super) found: bool,
    /// What a finding is.
    pub(super) what: String,
}

impl Slice {
    /// Reads libFuzzer's log.
    pub(super) fn read(log: &str, cpu: Duration, found: bool) -> Self {
        let number = |text: &str| {
            let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap_or(0)
        };
        let last = |word: &str| log.rsplit_once(word).map_or(0, |(_, rest)| number(rest));
        let executions = last("stat::number_of_executed_units:");
        // Of a finding there are no statistics, only the line before it.
        let before = || log.lines().filter_map(|line| line.strip_prefix('#')).map(number).max().unwrap_or(0);
        let panic = log.lines().skip_while(|line| !line.contains("panicked at")).take(2).collect::<Vec<_>>().join(" ");
        let error = log.lines().find(|line| line.contains("ERROR: libFuzzer")).unwrap_or("it ended with an error");
        let what = if panic.is_empty() { error.to_owned() } else { panic };
        Self {
            cpu,
            executions: if found { before() } else { executions },
            coverage: last(" cov: "),
            corpus: last(" corp: "),
            found,
            what: if found { what } else { String::new() },
        }
    }

    fn line(&self) -> String {
        let Self { executions, coverage, corpus, found, .. } = self;
        format!("{} {executions} {coverage} {corpus} {}\n", self.cpu.as_millis(), u8::from(*found))
    }

    /// Adds a line of the journal; one that is cut short says nothing.
    fn with_line(mut self, line: &str) -> Self {
        let numbers: Vec<u64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
        if let [cpu, executions, coverage, corpus, found] = numbers[..] {
            self.cpu += Duration::from_millis(cpu);
            self.executions += executions;
            self.coverage = self.coverage.max(coverage);
            self.corpus = corpus;
            self.found |= found != 0;
        }
        self
    }
}

/// The folder.
#[derive(Debug)]
pub(super) struct Journal {
    top: PathBuf,
    parsers: String,
    pub(super) budget: Duration,
    /// Held by who writes the file of findings, which all targets share.
    findings: Mutex<()>,
}

impl Journal {
    /// Takes up what an earlier run with the same program left.
    pub(super) fn open(engine: &Path, budget: Duration) -> Result<Self> {
        let digest = Run::new("sha256sum").arg(engine).output()?;
        let parsers = digest.get(..DIGITS).context("sha256sum says no digest")?.to_owned();
        let top = paths::work().join("long/fuzz");
        make(&top.join(&parsers))?;
        Ok(Self { top, parsers, budget, findings: Mutex::new(()) })
    }

    /// The folder of a target's inputs.
    pub(super) fn corpus(&self, target: &str) -> Result<PathBuf> {
        make(&self.top.join(target).join("corpus"))
    }

    /// The folder of a target's findings.
    pub(super) fn findings(&self, target: &str) -> Result<PathBuf> {
        make(&self.top.join(target).join("findings"))
    }

    fn slices(&self, target: &str) -> PathBuf {
        self.top.join(&self.parsers).join(target)
    }

    /// All slices of a target.
    pub(super) fn total(&self, target: &str) -> Result<Slice> {
        Ok(text(&self.slices(target))?.lines().fold(Slice::default(), Slice::with_line))
    }

    /// Keeps one more.
    pub(super) fn add(&self, target: &str, slice: &Slice) -> Result<()> {
        if slice.found {
            let _writing = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
            append(&self.top.join("findings"), &format!("{target} {}\n", slice.what))?;
        }
        append(&self.slices(target), &slice.line())
    }

    /// Inputs that crash this very program.
    pub(super) fn open_findings(&self, targets: &[String]) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for target in targets {
            if self.total(target)?.found {
                found.push(format!("{target}: {}", self.findings(target)?.display()));
            }
        }
        Ok(found)
    }

    /// What was found in a target since its last row on the page.
    pub(super) fn found(&self, target: &str) -> Result<Vec<String>> {
        let start = format!("{target} ");
        let found = text(&self.top.join("findings"))?;
        Ok(found.lines().filter_map(|line| Some(format!("{target}: {}", line.strip_prefix(&start)?))).collect())
    }

    /// Forgets what was found in a target: it stands on the page.
    pub(super) fn forget(&self, target: &str) -> Result<()> {
        let _writing = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, file) = (format!("{target} "), self.top.join("findings"));
        let left: String = text(&file)?.split_inclusive('\n').filter(|line| !line.starts_with(&start)).collect();
        fs::write(&file, left).with_context(|| format!("writing {}", file.display()))
    }
}

fn make(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder.to_owned())
}

/// The text of a file; none where there is no file.
fn text(file: &Path) -> Result<String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("reading {}", file.display())),
    }
}

fn append(file: &Path, line: &str) -> Result<()> {
    let failed = || format!("writing {}", file.display());
    let mut open = File::options().create(true).append(true).open(file).with_context(failed)?;
    open.write_all(line.as_bytes()).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "INFO: Seed: 1\n#2\tINITED cov: 10 ft: 12 corp: 1/5b exec/s: 0 rss: 30Mb\n\
        #99\tNEW    cov: 120 ft: 150 corp: 7/90b lim: 4 exec/s: 0 rss: 30Mb L: 2/2 MS: 1 ChangeByte-\n";

    #[test]
    fn reads_what_libfuzzer_says() {
        let log = format!("{LOG}Done 400 runs\nstat::number_of_executed_units: 400\nstat::peak_rss_mb: 41\n");
        let slice = Slice::read(&log, Duration::from_secs(3), false);
        assert_eq!((slice.executions, slice.coverage, slice.corpus, slice.found), (400, 120, 7, false));
        let log = format!(
            "{LOG}thread 'x' (1) panicked at a.rs:1:2:\nattempt to add with overflow\n==1== ERROR: libFuzzer: x\n"
        );
        let slice = Slice::read(&log, Duration::from_secs(3), true);
        assert_eq!((slice.executions, slice.coverage, slice.found), (99, 120, true));
        assert_eq!(slice.what, "thread 'x' (1) panicked at a.rs:1:2: attempt to add with overflow");
    }

    #[test]
    fn adds_up_slices() {
        let one = Slice::read(LOG, Duration::from_secs(2), true);
        let all = [one.line(), one.line(), "100 2".to_owned()].concat();
        let sum = all.lines().fold(Slice::default(), Slice::with_line);
        assert_eq!((sum.cpu, sum.executions, sum.coverage, sum.corpus), (Duration::from_secs(4), 198, 120, 7));
        assert!(sum.found);
    }
}

//! Programs of the host, started with a time limit and an output that is kept.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What a program may take when its caller names no limit.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(300);
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long what a program wrote last may take to arrive, once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How much of a failed program's output its error shows, in bytes from the end.
const SHOWN_TAIL: usize = 4000;

/// One program to run on the host.
#[derive(Debug)]
pub struct Run {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: PathBuf,
    limit: Duration,
    print: bool,
}

impl Run {
    /// Names the program; it runs in the checkout's root.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: crate::paths::workspace().to_owned(),
            limit: DEFAULT_LIMIT,
            print: false,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the folder the program starts in.
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = dir.into();
        self
    }

    /// Sets the time after which the program is killed.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Prints the command line, as a person would type it, before running it.
    pub fn printed(mut self) -> Self {
        self.print = true;
        self
    }

    /// Returns the command line as a person would type it.
    pub fn line(&self) -> String {
        let env = self.env.iter().map(|(k, v)| format!("{}={}", show(k), show(v)));
        let words = std::iter::once(&self.program).chain(&self.args).map(|w| show(w));
        env.chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Runs it with its output going straight to this process's own.
    pub fn attached(self) -> Result<()> {
        if self.print {
            eprintln!("+ {}", self.line());
        }
        let mut child = self.command().spawn().with_context(|| format!("starting {}", self.line()))?;
        let status = wait(&mut child, self.limit)?;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{} ended with {status}", self.line()),
            None => bail!("{} did not end within {} s", self.line(), self.limit.as_secs()),
        }
    }

    /// Runs it with its output going straight to this process's own, and returns whether it went well and what it wrote to
    /// standard error.
    ///
    /// # Errors
    /// It does not start, or takes longer than its limit.
    pub fn echoed(self) -> Result<(bool, String)> {
        if self.print {
            eprintln!("+ {}", self.line());
        }
        let mut command = self.command();
        command.stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", self.line()))?;
        let from = child.stderr.take().context("a program without standard error")?;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let echo = std::thread::spawn({
            let kept = Arc::clone(&kept);
            move || echo(from, &kept)
        });
        let status = wait(&mut child, self.limit)?;
        let ended = Instant::now();
        // A program that it left behind may hold the pipe open.
        while !echo.is_finished() && ended.elapsed() < LAST_WORDS {
            std::thread::sleep(POLL);
        }
        let text = String::from_utf8_lossy(&kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        match status {
            Some(status) => Ok((status.success(), text)),
            None => bail!("{} did not end within {} s", self.line(), self.limit.as_secs()),
        }
    }

    /// Runs it and returns its standard output; a failure shows the end of everything it wrote.
    pub fn output(self) -> Result<String> {
        let (status, stdout, stderr) = self.outcome()?;
        if !status.success() {
            let all = format!("{stdout}{stderr}");
            bail!("{} ended with {status}:\n{}", self.line(), tail(&all));
        }
        Ok(stdout)
    }

    /// Runs it and returns its status, standard output and standard error, whatever the status.
    pub fn outcome(&self) -> Result<(ExitStatus, String, String)> {
        if self.print {
            eprintln!("+ {}", self.line());
        }
        let mut out = tempfile::tempfile().context("making a file for a program's output")?;
        let mut err = tempfile::tempfile().context("making a file for a program's errors")?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
        let mut child = command.spawn().with_context(|| format!("starting {}", self.line()))?;
        let status = wait(&mut child, self.limit)?;
        let (stdout, stderr) = (slurp(&mut out)?, slurp(&mut err)?);
        match status {
            Some(status) => Ok((status, stdout, stderr)),
            None => {
                let all = format!("{stdout}{stderr}");
                bail!("{} did not end within {} s:\n{}", self.line(), self.limit.as_secs(), tail(&all))
            }
        }
    }

    /// Runs it and forgets its output unless it fails.
    pub fn quiet(self) -> Result<()> {
        self.output().map(drop)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.cwd);
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }
}

/// Waits for a child up to `limit`; `None` means that it was killed for taking longer.
pub fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("waiting for a program")? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            child.kill().context("killing a program that took too long")?;
            child.wait().context("waiting for a killed program")?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// Returns the last lines of a text, for an error message.
pub fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(SHOWN_TAIL);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Copies what a program writes to this process's standard error, and keeps it.
fn echo(mut from: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        // Whoever closed our standard error does not want to see it.
        let _ = std::io::stderr().write_all(&buffer[..read]);
        kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..read]);
    }
}

fn slurp(file: &mut File) -> Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn show(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

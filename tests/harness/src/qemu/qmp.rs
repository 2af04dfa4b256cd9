//! QEMU's monitor protocol, as far as tests need it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What one command may take; saving a machine's state is the slowest.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// How long one read waits before the clock is looked at.
const READ_SLICE: Duration = Duration::from_millis(100);

/// A connection to the monitor; events are kept in the order they came.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    line: String,
    events: Vec<Value>,
}

impl Qmp {
    /// Speaks the greeting on a fresh connection.
    pub(super) fn open(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(READ_SLICE))?;
        let writer = stream.try_clone()?;
        let mut qmp = Self { reader: BufReader::new(stream), writer, line: String::new(), events: Vec::new() };
        qmp.execute("qmp_capabilities", json!({})).context("greeting QEMU's monitor")?;
        Ok(qmp)
    }

    /// Executes one command and returns what it answers.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let text = json!({"execute": command, "arguments": arguments}).to_string();
        writeln!(self.writer, "{text}").with_context(|| format!("sending {command} to QEMU"))?;
        let deadline = Instant::now() + COMMAND_LIMIT;
        while Instant::now() < deadline {
            match self.message()? {
                Some(mut message) if message.get("return").is_some() => return Ok(message["return"].take()),
                Some(message) if message.get("error").is_some() => {
                    bail!("QEMU refused {command}: {}", message["error"]["desc"])
                }
                _ => {}
            }
        }
        bail!("QEMU did not answer {command} within {} s", COMMAND_LIMIT.as_secs())
    }

    /// Executes a line of the monitor for people; what it prints is its error, where it has one.
    pub fn human(&mut self, line: &str) -> Result<String> {
        let answer = self.execute("human-monitor-command", json!({"command-line": line}))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Reads what has come and returns all events so far.
    pub fn events(&mut self) -> &[Value] {
        // An error is the connection's end: no more events will come.
        while matches!(self.message(), Ok(Some(_))) {}
        &self.events
    }

    /// Returns one message, or none when none came in a while; events are kept aside and returned too.
    fn message(&mut self) -> Result<Option<Value>> {
        match self.reader.read_line(&mut self.line) {
            Ok(0) => bail!("QEMU closed its monitor"),
            Ok(_) => {
                let message: Value = serde_json::from_str(&self.line).context("reading QEMU's monitor")?;
                self.line.clear();
                if message.get("event").is_some() {
                    self.events.push(message.clone());
                }
                Ok(Some(message))
            }
            // What was read of a line so far stays in `line`.
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error).context("reading QEMU's monitor"),
        }
    }
}

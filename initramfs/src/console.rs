//! One line at a time, to the kernel's log and the console.

use std::{
    fs::{self, File},
    io::Write,
    sync::OnceLock,
};

use rustix::fs::{Mode, OFlags, open};

/// What every line begins with.
const NAME: &str = "rocketos-initramfs";
/// Bytes of a line the kernel's log takes whole.
const LINE_BYTES: usize = 900;
/// The log levels of syslog(2).
const ERROR: u8 = 3;
const WARNING: u8 = 4;
const INFO: u8 = 6;

static KMSG: OnceLock<File> = OnceLock::new();

/// Connects to the kernel's log and, where the kernel gave us none, to the console; /dev must be mounted.
pub fn connect() {
    if let Ok(file) = File::options().write(true).open("/dev/kmsg") {
        // Only the first connection counts; there is no second.
        let _ = KMSG.set(file);
    }
    attach_stdio();
}

/// Makes /dev/console this program's input, output and errors.
pub fn attach_stdio() {
    if let Ok(console) = open("/dev/console", OFlags::RDWR | OFlags::NOCTTY, Mode::empty()) {
        // Without a console there is nobody to tell; the kernel's log still has every line.
        let _ = rustix::stdio::dup2_stdin(&console);
        let _ = rustix::stdio::dup2_stdout(&console);
        let _ = rustix::stdio::dup2_stderr(&console);
    }
}

/// One line of printable text, short enough for one record of the kernel's log.
fn line(text: &str) -> String {
    let mut line = format!("{NAME}: {}", text.replace(|c: char| c.is_control(), " "));
    let mut end = line.len().min(LINE_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

/// True where the kernel prints records of `level` on the console by itself.
fn printed(level: u8) -> bool {
    let levels = fs::read_to_string("/proc/sys/kernel/printk").unwrap_or_default();
    let current = levels.split_whitespace().next().and_then(|level| level.parse().ok());
    current.is_some_and(|current: u8| level < current)
}

fn log(level: u8, text: &str) -> bool {
    KMSG.get().is_some_and(|mut kmsg| kmsg.write_all(format!("<{level}>{}\n", line(text)).as_bytes()).is_ok())
}

/// Notes what the journal should have.
pub fn info(text: &str) {
    log(INFO, text);
}

/// Notes what is odd and was passed over.
pub fn warning(text: &str) {
    log(WARNING, text);
}

/// Says what failed, once on the console whatever the kernel's log level.
pub fn error(text: &str) {
    if !log(ERROR, text) || !printed(ERROR) {
        // Standard error is the console the kernel opened for us; nothing is left to try after it.
        let _ = writeln!(std::io::stderr(), "{}", line(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_failure_on_one_bounded_line() {
        assert_eq!(line("a\nb\x1b[2J"), "rocketos-initramfs: a b [2J");
        let long = line(&"é".repeat(LINE_BYTES));
        assert!(long.len() <= LINE_BYTES && long.ends_with('é'));
    }
}

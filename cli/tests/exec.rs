//! `exec` at a terminal: what is typed, signals, and the terminal as it was on every way out. The service is a socket that says frames.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read, Write as _},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, OptionalActions, Termios, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rocketctl");
/// How long the program may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// The program at a terminal, and the service that it asks.
struct Sitting {
    _folder: TempDir,
    terminal: File,
    before: String,
    program: Child,
    service: BufReader<UnixStream>,
    asked: Value,
}

fn modes(terminal: &File) -> Termios {
    tcgetattr(terminal).unwrap()
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Sitting {
    fn begin(options: &[&str]) -> Self {
        let how = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(how).unwrap();
        unlockpt(&terminal).unwrap();
        let theirs = ioctl_tiocgptpeer(&terminal, how).unwrap();
        tcsetwinsize(&terminal, size(91, 33)).unwrap();
        // Not as every terminal is: it comes back as this one was.
        let mut own = tcgetattr(&terminal).unwrap();
        own.local_modes.remove(LocalModes::ECHOK);
        tcsetattr(&terminal, OptionalActions::Now, &own).unwrap();
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("api.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let side = || Stdio::from(theirs.try_clone().unwrap());
        let mut program = Command::new(PROGRAM);
        program.arg("exec").args(options).arg("--socket").arg(&socket).args(["admin", "--", "tool", "word"]);
        program.env("TERM", "vt220").stdin(side()).stdout(side()).stderr(side());
        let program = program.spawn().unwrap();
        let mut service = BufReader::new(listener.accept().unwrap().0);
        let asked = request(&mut service);
        let terminal = File::from(terminal);
        let before = format!("{:?}", modes(&terminal));
        let mut sitting = Self { _folder: folder, terminal, before, program, service, asked };
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: rocketos-exec\r\n\r\n";
        sitting.say(head.as_bytes());
        sitting
    }

    fn say(&mut self, bytes: &[u8]) {
        self.service.get_mut().write_all(bytes).unwrap();
    }

    /// The program is there, and has the terminal.
    fn at_work(mut self) -> Self {
        self.say(&frame(b'o', b"ready"));
        let mut shown = Vec::new();
        while !shown.ends_with(b"ready") {
            let mut byte = [0];
            self.terminal.read_exact(&mut byte).unwrap();
            shown.push(byte[0]);
        }
        let raw = LocalModes::ECHO | LocalModes::ISIG | LocalModes::ICANON;
        assert!(!modes(&self.terminal).local_modes.intersects(raw));
        self
    }

    fn types(&mut self, bytes: &[u8]) {
        self.terminal.write_all(bytes).unwrap();
    }

    /// The next frame that the service hears; none where the program left.
    fn hears(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.service.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let mut bytes = vec![0; length as usize];
        self.service.read_exact(&mut bytes).ok()?;
        Some((head[0], bytes))
    }

    fn is_told(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.program), signal).unwrap();
    }

    /// It has ended, and the terminal is as it was.
    fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        let status = loop {
            match self.program.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(began.elapsed() < PATIENCE, "it does not end"),
            }
            thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(format!("{:?}", modes(&self.terminal)), self.before);
        status
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        let _ = (self.program.kill(), self.program.wait());
    }
}

/// The body of what is asked.
fn request(service: &mut BufReader<UnixStream>) -> Value {
    let (mut line, mut length) = (String::new(), 0);
    while service.read_line(&mut line).unwrap() > 2 {
        if let Some(bytes) = line.to_lowercase().strip_prefix("content-length: ") {
            length = bytes.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    service.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn the_terminal_is_the_programs_until_it_ends() {
    let mut sitting = Sitting::begin(&[]);
    let terminal = &sitting.asked["terminal"];
    assert_eq!((&terminal["term"], &terminal["window"]["columns"]), (&"vt220".into(), &91.into()));
    assert_eq!((&terminal["window"]["rows"], &sitting.asked["command"][1]), (&33.into(), &"word".into()));
    sitting = sitting.at_work();
    // Ctrl-C is for the program there.
    sitting.types(b"a\x03");
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let (kind, bytes) = sitting.hears().unwrap();
        assert_eq!(kind, b'i');
        heard.extend(bytes);
    }
    assert_eq!(heard, b"a\x03");
    tcsetwinsize(&sitting.terminal, size(200, 50)).unwrap();
    // It is not the terminal's first program here, so the kernel does not tell it.
    sitting.is_told(Signal::WINCH);
    assert_eq!(sitting.hears(), Some((b'w', vec![0, 200, 0, 50])));
    sitting.say(&frame(b'x', &7_i32.to_be_bytes()));
    assert_eq!(sitting.ended().code(), Some(7));
}

#[test]
fn a_signal_ends_it_and_leaves_the_terminal_as_it_was() {
    for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::INT, 2), (Signal::QUIT, 3)] {
        let mut sitting = Sitting::begin(&[]).at_work();
        sitting.is_told(signal);
        assert_eq!(sitting.ended().code(), Some(128 + number), "{signal:?}");
        assert_eq!(sitting.hears(), None);
    }
}

#[test]
fn a_connection_that_is_lost_leaves_the_terminal_as_it_was() {
    let mut sitting = Sitting::begin(&[]).at_work();
    sitting.service.get_mut().shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(sitting.ended().code(), Some(1));
    // Words that are none, too.
    let mut sitting = Sitting::begin(&[]).at_work();
    sitting.say(&frame(b'z', b""));
    assert_eq!(sitting.ended().code(), Some(1));
}

#[test]
fn who_wants_to_leaves_a_program_that_does_not_end() {
    let mut sitting = Sitting::begin(&[]).at_work();
    sitting.types(b"\x1d\x1d\x1d");
    assert_eq!(sitting.ended().code(), Some(1));
}

#[test]
fn a_terminal_is_asked_for_and_refused_by_word() {
    let mut sitting = Sitting::begin(&["--no-tty"]);
    assert_eq!(sitting.asked.get("terminal"), None);
    sitting.say(&frame(b'x', &[0; 4]));
    assert_eq!(sitting.ended().code(), Some(0));
    let folder = TempDir::new().unwrap();
    let listener = UnixListener::bind(folder.path().join("api.sock")).unwrap();
    let asks = |options: &[&str]| {
        let mut program = Command::new(PROGRAM);
        program.arg("exec").args(options).arg("--socket").arg(folder.path().join("api.sock"));
        program.args(["admin", "--", "tool"]).env_remove("TERM").stdin(Stdio::null()).stderr(Stdio::null());
        let mut program = program.stdout(Stdio::from(OwnedFd::from(tempfile::tempfile().unwrap()))).spawn().unwrap();
        let asked = request(&mut BufReader::new(listener.accept().unwrap().0));
        program.wait().unwrap();
        asked
    };
    assert_eq!(asks(&[]).get("terminal"), None);
    let terminal = asks(&["-t"])["terminal"].clone();
    assert_eq!(terminal, serde_json::json!({ "term": "dumb", "window": { "columns": 80, "rows": 24 } }));
}

//! Programs in host containers, over a real socket; the programs are the host's own.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use rocketos_api::{
    frames::{FRAME_BYTES, Frame, PROTOCOL},
    limits,
    wire::Window,
};
use serde_json::{Value, json};
use support::{Lets, QUICK, Served};
use tokio::runtime::Runtime;

/// How long a program may take to be seen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that became a program's.
struct Program {
    stream: tokio::net::UnixStream,
    runtime: Runtime,
}

fn request(container: &str, command: &[&str], upgrade: &str) -> Vec<u8> {
    asking(container, &json!({ "command": command }), upgrade)
}

fn asking(container: &str, body: &Value, upgrade: &str) -> Vec<u8> {
    let body = body.to_string();
    let path = format!("/v1/host-containers/{container}/exec");
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{upgrade}Content-Type: application/json\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn upgrade() -> String {
    format!("Connection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n")
}

impl Program {
    fn start(node: &Served, command: &[&str]) -> Self {
        Self::asked(node, &json!({ "command": command }))
    }

    fn at_a_terminal(node: &Served, command: &[&str]) -> Self {
        let terminal = json!({ "term": "vt220", "window": { "columns": 91, "rows": 33 } });
        Self::asked(node, &json!({ "command": command, "terminal": terminal }))
    }

    fn asked(node: &Served, body: &Value) -> Self {
        let mut stream = UnixStream::connect(node.socket()).unwrap();
        stream.write_all(&asking("admin", body, &upgrade())).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(&format!("upgrade: {PROTOCOL}")), "{head}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = {
            let _inside = runtime.enter();
            tokio::net::UnixStream::from_std(stream).unwrap()
        };
        Self { stream, runtime }
    }

    fn say(&mut self, frame: &Frame) {
        self.runtime.block_on(frame.write(&mut self.stream)).unwrap();
    }

    /// What it says, until it has said this.
    fn hear(&mut self, awaited: &str) {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(awaited) {
            match self.runtime.block_on(Frame::read(&mut self.stream)).unwrap() {
                Some(Frame::Output(bytes)) => heard.extend(bytes),
                other => panic!("{other:?} before {awaited}: {}", String::from_utf8_lossy(&heard)),
            }
        }
    }

    /// Everything until the end: output, error, the last frame.
    fn end(&mut self) -> (Vec<u8>, Vec<u8>, Option<Frame>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match self.runtime.block_on(Frame::read(&mut self.stream)).unwrap() {
                Some(Frame::Output(bytes)) => out.extend(bytes),
                Some(Frame::Error(bytes)) => err.extend(bytes),
                last => return (out, err, last),
            }
        }
    }
}

fn until(seen: impl Fn() -> bool) {
    let began = Instant::now();
    while !seen() {
        assert!(began.elapsed() < PATIENCE, "nothing was seen");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_said_reaches_the_program_and_what_it_says_and_ends_with_comes_back() {
    let node = Served::start(Lets::all(), QUICK);
    let mut cat = Program::start(&node, &["cat"]);
    let much: Vec<u8> = (0..5 * FRAME_BYTES).map(|at| (at % 251) as u8).collect();
    cat.say(&Frame::Input(much.clone()));
    cat.say(&Frame::Input(Vec::new()));
    let (out, err, last) = cat.end();
    assert!(out == much && err.is_empty(), "{} {err:?}", out.len());
    assert_eq!(last, Some(Frame::Ended(0)));
    // No shell reads the words but the one that is asked for.
    let mut shell = Program::start(&node, &["sh", "-c", "echo \"$1\"; echo no >&2; exit 7", "sh", "$HOME; x"]);
    assert_eq!(shell.end(), (b"$HOME; x\n".to_vec(), b"no\n".to_vec(), Some(Frame::Ended(7))));
    let asked = node.desk.asked.lock().unwrap();
    assert!(asked[0].starts_with("uid ") && asked[0].ends_with(": cat"), "{asked:?}");
    assert!(!node.desk.stopped.load(Ordering::Relaxed));
}

#[test]
fn a_program_has_the_terminal_that_is_asked_for() {
    let node = Served::start(Lets::all(), QUICK);
    // It is its own: /dev/tty is that one, and a signal goes to it when somebody types one.
    let told = "trap 'stty size; trap - WINCH' WINCH; trap 'echo broken; exit 9' INT; \
                echo $TERM $(stty size); test -t 2 && : < /dev/tty && echo ready; while :; do sleep 0.1; done";
    // Who started the tests may have had them ignore what a terminal sends, and a shell never hears of it then.
    let mut shell = Program::at_a_terminal(&node, &["env", "--default-signal", "sh", "-c", told]);
    shell.hear("vt220 33 91\r\nready");
    shell.say(&Frame::Window(Window { columns: 200, rows: 50 }));
    shell.hear("50 200");
    shell.say(&Frame::Input(b"\x03".to_vec()));
    let (out, err, last) = shell.end();
    assert!(String::from_utf8_lossy(&out).contains("broken") && err.is_empty(), "{out:?} {err:?}");
    assert_eq!(last, Some(Frame::Ended(9)));
    assert!(!node.desk.stopped.load(Ordering::Relaxed));
}

#[test]
fn the_end_of_input_comes_through_a_terminal_and_all_that_is_said_comes_back() {
    let node = Served::start(Lets::all(), QUICK);
    let mut cat = Program::at_a_terminal(&node, &["sh", "-c", "cat; seq 20000; exit 3"]);
    cat.say(&Frame::Input(b"words\n".to_vec()));
    cat.say(&Frame::Input(Vec::new()));
    // Whose program reads no more may still change its window.
    let (out, _, last) = cat.end();
    let out = String::from_utf8_lossy(&out).into_owned();
    // Once as what was typed, once as what cat said.
    assert!(out.starts_with("words\r\nwords\r\n1\r\n2\r\n") && out.ends_with("\n20000\r\n"), "{}", &out[..40]);
    assert_eq!(last, Some(Frame::Ended(3)));
}

#[test]
fn a_window_is_no_word_to_a_program_without_a_terminal() {
    let node = Served::start(Lets::all(), QUICK);
    let mut program = Program::start(&node, &["sleep", "1000"]);
    program.say(&Frame::Window(Window { columns: 80, rows: 24 }));
    until(|| node.desk.stopped.load(Ordering::Relaxed));
}

#[test]
fn a_program_at_a_terminal_ends_with_its_connection() {
    let node = Served::start(Lets::all(), QUICK);
    let mut program = Program::at_a_terminal(&node, &["sh", "-c", "echo on; sleep 1000"]);
    program.hear("on");
    drop(program);
    until(|| node.desk.stopped.load(Ordering::Relaxed));
}

#[test]
fn a_terminal_that_is_none_starts_nothing() {
    let node = Served::start(Lets::all(), QUICK);
    let to = format!("Upgrade: {PROTOCOL}\r\nConnection: close\r\n");
    let window = json!({ "columns": 80, "rows": 24 });
    for terminal in [
        json!({ "term": "", "window": window }),
        json!({ "term": "xterm\nA=b", "window": window }),
        json!({ "term": "a".repeat(limits::TERM_BYTES + 1), "window": window }),
        json!({ "term": "xterm", "window": { "columns": 0, "rows": 24 } }),
        json!({ "term": "xterm", "window": { "columns": 80, "rows": 65536 } }),
        json!({ "term": "xterm" }),
        json!({ "term": "xterm", "window": window, "raw": true }),
    ] {
        let body = json!({ "command": ["true"], "terminal": terminal });
        let kind = node.raw(&asking("admin", &body, &to)).unwrap().kind();
        assert_eq!(kind, "malformed", "{terminal}");
    }
    assert!(node.desk.asked.lock().unwrap().is_empty());
}

#[test]
fn a_program_ends_with_its_connection() {
    let node = Served::start(Lets::all(), QUICK);
    drop(Program::start(&node, &["sleep", "1000"]));
    until(|| node.desk.stopped.load(Ordering::Relaxed));
}

#[test]
fn a_program_that_reads_nothing_ends_with_its_connection_too() {
    let node = Served::start(Lets::all(), QUICK);
    let mut program = Program::start(&node, &["sleep", "1000"]);
    // More than the pipe takes: the service waits for the program.
    program.say(&Frame::Input(vec![0; 2 * FRAME_BYTES]));
    drop(program);
    until(|| node.desk.stopped.load(Ordering::Relaxed));
}

#[test]
fn who_says_no_frames_is_not_listened_to() {
    let node = Served::start(Lets::all(), QUICK);
    let mut program = Program::start(&node, &["sleep", "1000"]);
    program.say(&Frame::Output(b"x".to_vec()));
    until(|| node.desk.stopped.load(Ordering::Relaxed));
}

#[test]
fn a_program_ends_when_the_service_is_told_to() {
    let mut node = Served::start(Lets::all(), QUICK);
    let _program = Program::start(&node, &["sleep", "1000"]);
    node.end();
    node.wait().unwrap();
    assert!(node.desk.stopped.load(Ordering::Relaxed));
}

#[test]
fn who_may_only_read_starts_nothing() {
    let node = Served::start(Lets::of(true, false), QUICK);
    assert_eq!(node.raw(&request("admin", &["true"], &upgrade())).unwrap().kind(), "not-permitted");
    assert!(node.desk.asked.lock().unwrap().is_empty());
    assert_eq!(node.ask("GET", "/v1/reports/logs", None).kind(), "not-permitted");
}

#[test]
fn a_report_is_an_archive() {
    let node = Served::start(Lets::all(), QUICK);
    let answer = node.ask("GET", "/v1/reports/logs", None);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/gzip")));
    assert_eq!(answer.text, "packed");
}

#[test]
fn what_is_asked_wrongly_starts_nothing() {
    let node = Served::start(Lets::all(), QUICK);
    let close = "Connection: close\r\n";
    let wrong = |container: &str, command: &[&str], upgrade: &str| {
        node.raw(&request(container, command, &format!("{upgrade}{close}"))).unwrap().kind()
    };
    assert_eq!(wrong("admin", &["true"], ""), "malformed");
    assert_eq!(wrong("admin", &["true"], "Upgrade: websocket\r\n"), "malformed");
    let to = format!("Upgrade: {PROTOCOL}\r\n");
    assert_eq!(wrong("nobody", &["true"], &to), "not-found");
    assert_eq!(wrong("admin", &[], &to), "malformed");
    assert_eq!(wrong("admin", &[""], &to), "malformed");
    assert_eq!(wrong("admin", &["a\0"], &to), "malformed");
    assert_eq!(wrong("admin", &vec!["a"; limits::WORDS + 1], &to), "malformed");
    assert_eq!(wrong("admin", &[&"a".repeat(limits::COMMAND_BYTES + 1)], &to), "malformed");
    assert!(node.desk.asked.lock().unwrap().is_empty());
    assert_eq!(wrong("admin", &["/no/such/program"], &to), "failed");
}

#[test]
fn as_many_programs_run_as_may() {
    let node = Served::start(Lets::all(), QUICK);
    let programs: Vec<_> = (0..limits::PROGRAMS).map(|_| Program::start(&node, &["sleep", "1000"])).collect();
    let close = format!("Upgrade: {PROTOCOL}\r\nConnection: close\r\n");
    assert_eq!(node.raw(&request("admin", &["true"], &close)).unwrap().kind(), "too-many");
    drop(programs);
    until(|| {
        let mut stream = UnixStream::connect(node.socket()).unwrap();
        stream.write_all(&request("admin", &["true"], &upgrade())).unwrap();
        let mut bytes = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut bytes).unwrap();
        bytes.ends_with(b"101")
    });
}

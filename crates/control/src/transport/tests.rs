use std::{
    io::{BufRead as _, BufReader},
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;

/// How long a test waits for what has to come.
const LONG: Duration = Duration::from_secs(20);

/// What listens where the API does: to `ask x` it answers `answer x`, to `bye` nothing any more.
pub struct Api {
    folder: TempDir,
    connections: mpsc::Receiver<()>,
}

impl Api {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("api.sock")).unwrap();
        let (came, connections) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if came.send(()).is_err() {
                    return;
                }
                thread::spawn(move || answer(&stream));
            }
        });
        Self { folder, connections }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn answer(mut stream: &UnixStream) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let Some(what) = line.strip_prefix("ask ") else { break };
        if writeln!(stream, "answer {what}").is_err() || what == "one" {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Conversations that a test has prepared.
struct Prepared(mpsc::Receiver<Conversation>);

impl Transport for Prepared {
    fn name(&self) -> String {
        "prepared".to_owned()
    }

    fn next(&mut self) -> io::Result<Option<Conversation>> {
        Ok(self.0.recv().ok())
    }
}

/// A conversation, and the other end of it.
fn conversation(at_end: AtEnd) -> (UnixStream, Conversation) {
    let (mine, other) = UnixStream::pair().unwrap();
    mine.set_read_timeout(Some(LONG)).unwrap();
    let (asks, ends) = (other.try_clone().unwrap(), other.try_clone().unwrap());
    let hang_up = Box::new(move || drop(ends.shutdown(Shutdown::Both)));
    (mine, Conversation { asks: Box::new(asks), answers: Box::new(other), at_end, hang_up })
}

fn start(api: &Api) -> mpsc::Sender<Conversation> {
    let (hand, comes) = mpsc::channel();
    let socket = api.socket();
    thread::spawn(move || serve(&mut Prepared(comes), &socket));
    hand
}

fn line(stream: &UnixStream) -> String {
    let mut line = String::new();
    // Where it was closed before all was read it is reset.
    match BufReader::new(stream).read_line(&mut line) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => line,
    }
}

#[test]
fn requests_and_answers_are_carried_as_they_come() {
    let api = Api::start();
    let hand = start(&api);
    let (mut one, conversation_of_one) = conversation(AtEnd::Leave);
    hand.send(conversation_of_one).unwrap();
    // Nothing was asked, so that nobody comes to the API.
    assert!(api.connections.recv_timeout(Duration::from_millis(200)).is_err());
    for what in ["a", "b", "c"] {
        writeln!(one, "ask {what}").unwrap();
        assert_eq!(line(&one), format!("answer {what}\n"));
    }
    // Another beside it.
    let (mut other, conversation_of_other) = conversation(AtEnd::Leave);
    hand.send(conversation_of_other).unwrap();
    writeln!(other, "ask d").unwrap();
    assert_eq!(line(&other), "answer d\n");
    writeln!(one, "bye").unwrap();
    // The API has said its last, and the other end is told.
    assert_eq!(line(&one), "");
    writeln!(other, "ask e").unwrap();
    assert_eq!(line(&other), "answer e\n");
}

#[test]
fn who_leaves_is_not_answered_and_who_has_asked_all_is() {
    let api = Api::start();
    let hand = start(&api);
    for (at_end, expected) in [(AtEnd::Answer, "answer a\n"), (AtEnd::Leave, "")] {
        let (mut mine, other) = conversation(at_end);
        hand.send(other).unwrap();
        // Half of a question: its end comes before an answer can.
        write!(mine, "ask ").unwrap();
        api.connections.recv_timeout(LONG).unwrap();
        match at_end {
            AtEnd::Answer => writeln!(mine, "a").unwrap(),
            AtEnd::Leave => {}
        }
        mine.shutdown(Shutdown::Write).unwrap();
        assert_eq!(line(&mine), expected, "{at_end:?}");
    }
}

#[test]
fn no_more_are_led_to_the_api_at_once_than_are_allowed() {
    let api = Api::start();
    let hand = start(&api);
    let mut held = Vec::new();
    for _ in 0..CONVERSATIONS {
        let (mut mine, other) = conversation(AtEnd::Leave);
        hand.send(other).unwrap();
        writeln!(mine, "ask a").unwrap();
        assert_eq!(line(&mine), "answer a\n");
        held.push(mine);
    }
    let (mine, other) = conversation(AtEnd::Leave);
    hand.send(other).unwrap();
    assert_eq!(line(&mine), "");
    // With one that has ended there is room for another.
    drop(held.pop());
    let until = Instant::now() + LONG;
    loop {
        let (mut mine, other) = conversation(AtEnd::Leave);
        hand.send(other).unwrap();
        // Where it was turned away already it cannot be written to.
        if writeln!(mine, "ask b").is_ok() && line(&mine) == "answer b\n" {
            break;
        }
        assert!(Instant::now() < until, "there is no room");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn where_nobody_listens_a_conversation_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (mut mine, other) = conversation(AtEnd::Leave);
    writeln!(mine, "ask a").unwrap();
    let error = hold(other, &folder.path().join("none")).unwrap_err();
    assert!(error.to_string().starts_with("connecting to "), "{error}");
    assert_eq!(line(&mine), "");
}

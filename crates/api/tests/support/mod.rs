//! A node whose settings are a real store, the service on a real socket, and a client that sends whatever it is told.

#![allow(dead_code, clippy::unwrap_used, reason = "a test may panic, and each uses some")]

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::Utc;
use rocketos_api::{
    Access, Kind, Node, Peer, Permit, Problem, Service,
    limits::Patience,
    node::{Change, Ends, Hear, How, Program, Started},
    wire::{Changed, Event, HostUnit, InForce, Locked, Past, Receipt, Running, Set, Standing, Step, Terminal},
};
use rocketos_health::Report;
use rocketos_settings::{
    Layers, SetBy, Tree,
    store::{self, Content, Store, StoreError},
};
use rustix::{
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Runtime, sync::oneshot};

/// A node that has settings, and whose updates say only that they were asked for.
pub struct Desk {
    store: Store,
    locked: Mutex<Option<Locked>>,
    pub asked: Mutex<Vec<String>>,
    /// Whether a program was stopped.
    pub stopped: Arc<AtomicBool>,
}

impl Desk {
    fn content(&self, number: u64) -> Result<Content, Problem> {
        Ok(if number == 0 { Content::default() } else { self.store.read(number)?.content })
    }

    fn resolve(content: &Content) -> Result<rocketos_settings::Effective, Problem> {
        let mut layers = Layers::default();
        let image = Tree::from_value(json!({ "motd": "image", "host-containers": { "admin": { "enabled": false } } }))?;
        layers.add(&image, |_| SetBy::File { path: "/usr/lib/rocketos/settings.d/10.toml".into() });
        content.add_to(&mut layers);
        layers.resolve().map_err(|problems| Problem::invalid(&problems))
    }

    fn receipt(verb: &str, how: &How, before: u64, after: u64, changes: Vec<store::Change>) -> Receipt {
        Receipt {
            verb: verb.to_owned(),
            by: how.by.clone(),
            when: Utc::now(),
            dry_run: how.dry_run,
            outcome: if how.dry_run { "planned" } else { "applied" }.to_owned(),
            before,
            after,
            in_force: of_generation(after),
            settings: changes.into_iter().map(changed).collect(),
            files: Vec::new(),
            steps: Vec::new(),
            put_back: Vec::new(),
            refused: Vec::new(),
            notes: Vec::new(),
            milliseconds: 0,
        }
    }

    /// Commits what is made of what counts; without a generation, until nobody else's came between.
    fn commit(
        &self,
        verb: &str,
        how: &How,
        make: impl Fn(&Content) -> Result<Content, Problem>,
    ) -> Result<Receipt, Problem> {
        if let Some(Locked { by, .. }) = &*self.locked.lock().unwrap() {
            return Err(Problem::new(Kind::Locked, format!("locked by {by}")));
        }
        loop {
            let current = self.store.current()?.generation;
            let before = current.number;
            if let Some(base) = how.base.filter(|base| *base != before) {
                return Err(StoreError::Stale { expected: base, found: before }.into());
            }
            let content = make(&current.content)?;
            Self::resolve(&content)?;
            let changes = store::diff(&current.content, &content);
            if how.dry_run {
                return Ok(Self::receipt(verb, how, before, before, changes));
            }
            match self.store.commit(before, content, &how.by, &how.why, Utc::now()) {
                Ok(generation) => return Ok(Self::receipt(verb, how, before, generation.number, changes)),
                Err(StoreError::Stale { .. }) if how.base.is_none() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn of_generation(number: u64) -> InForce {
    InForce { kind: "generation".to_owned(), generation: Some(number), words: format!("generation {number}") }
}

fn changed(change: store::Change) -> Changed {
    Changed { key: change.key, user_data: change.user_data, before: change.before, after: change.after }
}

impl Node for Desk {
    fn standing(&self) -> Result<Standing, Problem> {
        let current = self.store.current()?;
        let effective = Self::resolve(&current.generation.content)?;
        let settings = effective.shown(None).into_iter();
        Ok(Standing {
            generation: current.generation.number,
            in_force: of_generation(current.generation.number),
            settings: settings.map(|shown| Set { key: shown.key, value: shown.value, set_by: shown.set_by }).collect(),
            parked: Vec::new(),
            refused: Vec::new(),
            damaged: Vec::new(),
            locked: self.locked.lock().unwrap().clone(),
            raw: Vec::new(),
            receipt: None,
            boot: Some(json!({ "verb": "boot", "outcome": "applied" })),
        })
    }

    fn history(&self) -> Result<Vec<Past>, Problem> {
        let all = self.store.history()?;
        let before = |at: usize| all.get(at + 1).map(|one| one.content.clone()).unwrap_or_default();
        let past = all.iter().enumerate().map(|(at, one)| Past {
            generation: one.number,
            written: one.written,
            by: one.by.clone(),
            why: one.why.clone(),
            settings: store::diff(&before(at), &one.content).into_iter().map(changed).collect(),
        });
        Ok(past.collect())
    }

    fn diff(&self, from: u64, to: u64) -> Result<Vec<Changed>, Problem> {
        Ok(store::diff(&self.content(from)?, &self.content(to)?).into_iter().map(changed).collect())
    }

    fn change(&self, change: &Change, how: &How) -> Result<Receipt, Problem> {
        self.commit("change", how, |content| {
            let mut content = content.clone();
            for key in &change.unset {
                content.unset(key);
            }
            for (key, value) in change.set.leaves() {
                content.set(&key, value, &how.by, Utc::now())?;
            }
            Ok(content)
        })
    }

    fn undo(&self, to: Option<u64>, how: &How) -> Result<Receipt, Problem> {
        let to = to.unwrap_or(self.generation()?.saturating_sub(1));
        let old = self.content(to)?;
        self.commit("undo", how, |_| Ok(old.clone()))
    }

    fn apply(&self, by: &str, dry_run: bool) -> Result<Receipt, Problem> {
        let how = How { base: None, by: by.to_owned(), why: String::new(), dry_run };
        let now = self.generation()?;
        Ok(Self::receipt("apply", &how, now, now, Vec::new()))
    }

    fn lock(&self, by: &str) -> Result<Locked, Problem> {
        let mut locked = self.locked.lock().unwrap();
        Ok(locked.get_or_insert_with(|| Locked { by: by.to_owned(), at: Utc::now() }).clone())
    }

    fn status(&self) -> Result<Value, Problem> {
        Ok(json!({ "apiVersion": "org.containers.bootc/v1", "kind": "BootcHost" }))
    }

    fn health(&self) -> Result<Option<Report>, Problem> {
        Ok(None)
    }

    fn report(&self, name: &str) -> Result<Option<Value>, Problem> {
        Ok((name == "boot").then(|| json!({ "units": [] })))
    }

    fn host_containers(&self) -> Result<Running, Problem> {
        let unit = HostUnit { state: "active".into(), result: "success".into(), since: None, restarts: 2 };
        Ok([("admin".to_owned(), (None, Some(unit)))].into())
    }

    fn logs(&self) -> Result<Vec<u8>, Problem> {
        Ok(b"packed".to_vec())
    }

    fn exec(
        &self,
        container: &str,
        command: &[String],
        terminal: Option<&Terminal>,
        by: &str,
    ) -> Result<Started, Problem> {
        if container != "admin" {
            return Err(Problem::new(Kind::NotFound, format!("there is no host container '{container}'")));
        }
        self.asked.lock().unwrap().push(format!("{by}: {}", command.join(" ")));
        let (mut child, ours) =
            spawn(command, terminal).map_err(|error| Problem::new(Kind::Failed, error.to_string()))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let pid = rustix::process::Pid::from_child(&child);
        Ok(Started {
            ends: match (ours, pipes) {
                (Some(terminal), _) => Ends::Terminal(terminal),
                (None, (Some(stdin), Some(stdout), Some(stderr))) => {
                    Ends::Pipes { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() }
                }
                _ => panic!("a child without pipes"),
            },
            program: Arc::new(Runs { child: Mutex::new(child), pid, stopped: Arc::clone(&self.stopped) }),
        })
    }

    fn update(&self, step: Step, hear: Hear<'_>) -> Result<Value, Problem> {
        self.asked.lock().unwrap().push(step.name().to_owned());
        match step {
            Step::Deactivate => Err(Problem::new(Kind::NothingToDo, "nothing was activated")),
            Step::Refresh | Step::Prepare | Step::Activate | Step::Reboot => {
                hear(json!({ "bytes": 7 }));
                Ok(json!({ "outcome": step.name() }))
            }
        }
    }

    fn rollback(&self, to: Option<&str>) -> Result<Value, Problem> {
        self.asked.lock().unwrap().push("rollback".to_owned());
        Ok(json!({ "next": to }))
    }

    fn generation(&self) -> Result<u64, Problem> {
        Ok(self.store.current()?.generation.number)
    }
}

/// A program of the host, and our side of its terminal.
fn spawn(command: &[String], terminal: Option<&Terminal>) -> io::Result<(Child, Option<OwnedFd>)> {
    let Some(Terminal { term, window }) = terminal else {
        let [input, output, error] = [(); 3].map(|()| Stdio::piped());
        return Ok((spawned(Command::new(&command[0]).args(&command[1..]), [input, output, error])?, None));
    };
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    tcsetwinsize(&ours, Winsize { ws_row: window.rows, ws_col: window.columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    // The one that gives it to the program as its own; of the node that is systemd.
    let mut setsid = Command::new("setsid");
    setsid.args(["--ctty", "--wait"]).args(command).env("TERM", term);
    let [input, output] = [theirs.try_clone()?, theirs.try_clone()?].map(Stdio::from);
    Ok((spawned(&mut setsid, [input, output, theirs.into()])?, Some(ours)))
}

fn spawned(command: &mut Command, [input, output, error]: [Stdio; 3]) -> io::Result<Child> {
    command.stdin(input).stdout(output).stderr(error).spawn()
}

/// A program of the host.
struct Runs {
    child: Mutex<Child>,
    pid: rustix::process::Pid,
    stopped: Arc<AtomicBool>,
}

impl Program for Runs {
    fn wait(&self) -> Result<i32, Problem> {
        let status = self.child.lock().unwrap().wait();
        status.map(|status| status.code().unwrap_or(255)).map_err(|error| Problem::new(Kind::Failed, error.to_string()))
    }

    fn stop(&self) {
        rustix::process::kill_process(self.pid, rustix::process::Signal::TERM).unwrap();
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Lets everybody do what it is told.
#[derive(Clone)]
pub struct Lets(pub Arc<AtomicBool>, pub Arc<AtomicBool>);

impl Lets {
    pub fn all() -> Self {
        Self::of(true, true)
    }

    pub fn of(read: bool, change: bool) -> Self {
        Self(Arc::new(AtomicBool::new(read)), Arc::new(AtomicBool::new(change)))
    }
}

impl Permit for Lets {
    fn access(&self, peer: Peer, _: BorrowedFd<'_>) -> io::Result<Access> {
        let Self(read, change) = self;
        let (read, change) = (read.load(Ordering::Relaxed), change.load(Ordering::Relaxed));
        Ok(Access { who: format!("uid {}", peer.uid), read, change })
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Short enough for tests, long enough for a machine that is busy.
pub const QUICK: Patience = Patience {
    head: Duration::from_secs(2),
    body: Duration::from_secs(2),
    write: Duration::from_secs(2),
    idle: Duration::from_secs(60),
    end: Duration::from_secs(10),
    look: Duration::from_millis(100),
};

/// The service, until it is dropped.
pub struct Served {
    pub desk: Arc<Desk>,
    pub folder: TempDir,
    runtime: Option<Runtime>,
    end: Option<oneshot::Sender<()>>,
    pub done: Option<tokio::task::JoinHandle<io::Result<()>>>,
}

impl Served {
    pub fn start(lets: Lets, patience: Patience) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("settings")).unwrap();
        let desk = Arc::new(Desk { store, locked: Mutex::default(), asked: Mutex::default(), stopped: Arc::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let service = Service {
            node: Arc::clone(&desk) as Arc<dyn Node>,
            permit: Arc::new(lets),
            transactions: folder.path().join("transactions"),
            patience,
        };
        let (end, ends) = oneshot::channel();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(folder.path().join("api.sock")).unwrap()
        };
        let done = runtime.spawn(service.serve(listener, async {
            // Whoever drops it ends it too.
            let _ = ends.await;
        }));
        Self { desk, folder, runtime: Some(runtime), end: Some(end), done: Some(done) }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    /// Tells it to end.
    pub fn end(&mut self) {
        drop(self.end.take());
    }

    /// Waits until it has ended by itself or was told to.
    pub fn wait(&mut self) -> io::Result<()> {
        let done = self.done.take().unwrap();
        self.runtime.as_ref().unwrap().block_on(done).unwrap()
    }

    pub fn store(&self) -> &Store {
        &self.desk.store
    }

    pub fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        ask(&self.socket(), method, path, &[], body)
    }

    pub fn with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        ask(&self.socket(), method, path, headers, body)
    }

    pub fn raw(&self, bytes: &[u8]) -> Option<Answer> {
        raw(&self.socket(), bytes)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The kind of problem, without what stands before it.
    pub fn kind(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

pub fn ask(socket: &Path, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    if !body.is_empty() {
        head += "Content-Type: application/json\r\n";
    }
    head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    raw(socket, head.as_bytes()).unwrap_or_else(|| panic!("{method} {path}: no answer"))
}

/// Sends bytes and reads to the end; none where nothing came.
pub fn raw(socket: &Path, bytes: &[u8]) -> Option<Answer> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // What is refused early is not read to its end.
    let _ = stream.write_all(bytes);
    read(&mut stream)
}

pub fn read(stream: &mut UnixStream) -> Option<Answer> {
    let deadline = Instant::now() + PATIENCE;
    let (mut text, mut buffer) = (Vec::new(), [0; 8192]);
    // An error is an end too: who is refused early has not read everything.
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        text.extend_from_slice(&buffer[..read]);
        assert!(Instant::now() < deadline, "no end: {}", String::from_utf8_lossy(&text));
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        assert!(text.is_empty(), "{text}");
        return None;
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer { status, head: head.replace("\r\n", "\n"), text: body.to_owned() })
}

/// The event of a piece of a stream.
pub fn events(text: &str) -> Vec<Event> {
    let event = |piece: &str| {
        let name = piece.lines().find_map(|line| line.strip_prefix("event: "))?;
        let data: Value = serde_json::from_str(piece.lines().find_map(|line| line.strip_prefix("data: "))?).ok()?;
        serde_json::from_value(json!({ "event": name, "data": data })).ok()
    };
    text.split("\n\n").filter_map(event).collect()
}

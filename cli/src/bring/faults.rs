//! An upgrade whose Nth call fails, for every N until one passes clean: a process brings a release from a real registry to
//! a machine of directories, and strace has its calls to file systems and network fail, or kills it there.
//!
//! Calls are counted in each thread by itself, from where the upgrade begins. Whatever happened, what booted is untouched,
//! what boots next is whole, the same command comes to what it would have come to, and a prune gives all space back.

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    panic,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use rocketos_boot::uki;
use rocketos_deploy::roles;
use rocketos_model::{Booted, DeploymentId, ImageReference, cmdline};
use rocketos_oci::ReaderConfig;
use rocketos_store::Verity;
use tempfile::TempDir;

use super::*;
use crate::{
    args::Progress,
    machine::{
        Machine, everything,
        made::release,
        served,
        support::{self, registry::Registry},
    },
};

/// Says to the child on which disk to work, having booted what, and from which registry.
const CHILD: [&str; 3] = ["ROCKETOS_FAULTS_DISK", "ROCKETOS_FAULTS_BOOTED", "ROCKETOS_FAULTS_HOST"];
/// What the child says when its upgrade is about to begin, before the number of the thread that it is in.
const READY: &str = "ready ";
/// How the child ends where the upgrade failed and said so.
const FAILED: i32 = 3;
/// How it ends where the upgrade came to something else than a staged release.
const ASTRAY: i32 = 4;
/// What ends a process that panics here (signal(7)).
const SIGABRT: i32 = 6;
/// What ends a process that is killed (signal(7)).
const SIGKILL: i32 = 9;
/// A child that takes longer hangs; one that nobody disturbs needs about a second.
const HANG: Duration = Duration::from_secs(90);
/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// More calls of one kind than an upgrade makes in one thread.
const MANY: u32 = 20_000;
/// Up to this call every one fails in turn, in the ordinary run too; from there on the number doubles.
const EACH: u32 = 6;
/// Set where every call is to fail in turn.
const LONG: &str = "ROCKETOS_TESTS_LONG";
/// Upgrades that end in each of the ways there are, at least.
const AT_LEAST: u32 = 20;
/// Upgrades at once.
const WORKERS: usize = 2;

/// Whose calls are disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threads {
    All,
    /// That which prunes, names the image and stages it. Threads wake each other by a `write` too, the others most; the runtime
    /// panics where that fails, and so hides the files that are written after; where it only seems to have been done, nobody
    /// wakes. tests/crash.rs of rocketos-deploy has short writes, without a runtime.
    First,
}

/// Kinds of calls, in strace's words, and what becomes of them.
const FAULTS: [(Threads, &str, &[&str]); 11] = [
    (Threads::First, "write,writev,pwrite64", &["error=EIO", "error=ENOSPC"]),
    (Threads::All, "write,writev,pwrite64", &[KILL]),
    (Threads::All, "fsync,fdatasync,syncfs", &["error=EIO", KILL]),
    (Threads::All, "/^rename", &["error=EIO", "error=ENOSPC", KILL]),
    (Threads::All, "/^link,/^symlink", &["error=EIO", "error=ENOSPC", KILL]),
    (Threads::All, "/^unlink,?rmdir", &["error=EIO", KILL]),
    (Threads::All, "/^mkdir", &["error=EIO", "error=ENOSPC", KILL]),
    (Threads::All, "/^open", &["error=EIO", "error=ENOSPC", KILL]),
    (Threads::All, "read,readv,pread64,getdents64", &["error=EIO", "error=EINTR", KILL]),
    (Threads::All, "connect", &["error=ECONNRESET", "error=ETIMEDOUT", KILL]),
    (Threads::All, "sendto,sendmsg,recvfrom,recvmsg", &["error=ECONNRESET", "error=ETIMEDOUT", KILL]),
];
const KILL: &str = "signal=KILL";

/// What is done to an upgrade.
#[derive(Debug, Clone, Copy)]
struct Disturbance {
    threads: Threads,
    calls: &'static str,
    fault: &'static str,
    /// The how-manieth call of each thread.
    at: u32,
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Root partition and ESP, with nothing open.
struct Disk<'a> {
    folder: TempDir,
    scene: &'a Scene,
}

/// What all upgrades have in common.
struct Scene {
    host: String,
    booted: Booted,
    /// The disk before. It has a deployment that nobody needs, for the upgrade makes room.
    base: TempDir,
    /// What of it a prune keeps.
    kept: Files,
    /// The disk after an upgrade that nobody disturbs.
    after: Files,
    old: DeploymentId,
    new: DeploymentId,
}

/// What to bring, and how.
struct Upgrade {
    disk: PathBuf,
    booted: Booted,
    host: String,
    reader: ReaderConfig,
}

impl Upgrade {
    fn new(disk: &Path, booted: Booted, host: &str) -> Self {
        let reader = support::config(disk, &[host]);
        Self { disk: disk.to_owned(), booted, host: host.to_owned(), reader }
    }

    /// Brings what the registry has by now.
    fn run(self) -> anyhow::Result<Outcome> {
        let Self { disk, booted, host, reader } = self;
        let node = Node::at(&disk.join("root"), &disk.join("esp"), Verity::Optional, Some(booted))?;
        let current = roles(&node)?;
        let guard = Guard::given_or(disk.join("policy.toml").to_str(), Guard::of_node)?;
        let puller = Puller::with(reader)?;
        let reporter = Reporter::new(&Progress { quiet: true, progress_fd: None })?;
        let follow = Follow::from(format!("docker://{host}/os/test:stable").parse::<ImageReference>()?);
        let wanted = Wanted::of(&follow, Activation::Tried);
        Ok(bring(&node, &current, &guard, &puller, &wanted, &reporter)?.outcome)
    }
}

#[test]
#[ignore = "runs only as the process that the other test here disturbs"]
fn child() {
    let Ok(disk) = env::var(CHILD[0]) else { return };
    let [booted, host] = [CHILD[1], CHILD[2]].map(|name| env::var(name).unwrap());
    let upgrade = Upgrade::new(Path::new(&disk), Booted::from_toml(&booted).unwrap(), &host);
    // A runtime that cannot wake its threads panics, and then waits for them for ever.
    panic::set_hook(Box::new(|panic| {
        let _ = writeln!(io::stderr(), "{panic}");
        std::process::abort();
    }));
    // The test's thread need not be the first of the process (proc(5): `<process>/task/<thread>`).
    let thread = fs::read_link("/proc/thread-self").unwrap();
    writeln!(io::stdout(), "\n{READY}{}", thread.file_name().unwrap().display()).unwrap();
    // From here on nothing may be unwrapped: any call may fail, this one too.
    let _ = io::stdin().read_line(&mut String::new());
    let code = match upgrade.run() {
        Ok(Outcome::Staged) => 0,
        Ok(_) => ASTRAY,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}", exit::chain(&error));
            FAILED
        }
    };
    std::process::exit(code);
}

fn files(disk: &Path) -> Files {
    let tops = ["root", "esp"].map(|top| everything(&disk.join(top)));
    let relative = |path: PathBuf| path.strip_prefix(disk).unwrap().to_owned();
    tops.into_iter().flatten().map(|(path, content)| (relative(path), content)).collect()
}

/// Says which names differ.
#[track_caller]
fn assert_same(now: &Files, then: &Files, when: &str) {
    let differ: Vec<_> =
        now.iter().filter(|(name, content)| then.get(*name) != Some(content)).map(|(name, _)| name).collect();
    let gone: Vec<_> = then.keys().filter(|name| !now.contains_key(*name)).collect();
    assert!(differ.is_empty() && gone.is_empty(), "{when}: new or changed: {differ:#?}, gone: {gone:#?}");
}

impl Scene {
    /// A machine that runs one release, and a registry that has the next.
    fn new(registry: &Registry) -> Self {
        let [oldest, older, one, two] = ["oldest", "older", "one", "two"].map(release);
        let from = format!("docker://{}/os/test:stable", registry.host);
        crate::pull::runtime().unwrap().block_on(registry.push("os/test", "stable", &served(&two)));
        let Machine { folder: base, node, .. } = Machine::new(&[(&one, &from), (&older, &from), (&oldest, &from)]);
        fs::write(base.path().join("policy.toml"), "[default]\naccept = 'unsigned'\n").unwrap();
        let mut scene = Self {
            host: registry.host.clone(),
            booted: node.booted.unwrap(),
            kept: Files::new(),
            base,
            after: Files::new(),
            old: one.id(),
            new: two.id(),
        };
        let disk = Disk::of(&scene);
        disk.prune();
        let kept = disk.files();
        assert!(kept.len() < files(scene.base.path()).len(), "nothing is to prune");
        disk.upgrade();
        disk.prune();
        let after = disk.files();
        assert_eq!(disk.next("undisturbed"), scene.new);
        disk.drop_new();
        disk.prune();
        assert_same(&disk.files(), &kept, "undisturbed, dropped and pruned");
        drop(disk);
        (scene.kept, scene.after) = (kept, after);
        scene
    }
}

impl<'a> Disk<'a> {
    fn of(scene: &'a Scene) -> Self {
        Self::from(scene.base.path(), scene)
    }

    fn from(other: &Path, scene: &'a Scene) -> Self {
        let folder = TempDir::new().unwrap();
        let copied = Command::new("cp").arg("-aT").args([other, folder.path()]).status().unwrap();
        assert!(copied.success());
        Self { folder, scene }
    }

    fn copy(&self) -> Self {
        Self::from(self.path(), self.scene)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn files(&self) -> Files {
        files(self.path())
    }

    fn node(&self) -> Node {
        let booted = Some(self.scene.booted.clone());
        Node::at(&self.path().join("root"), &self.path().join("esp"), Verity::Optional, booted).unwrap()
    }

    fn upgrade(&self) -> Outcome {
        Upgrade::new(self.path(), self.scene.booted.clone(), &self.scene.host).run().unwrap()
    }

    fn prune(&self) {
        prune(&self.node(), false).unwrap();
    }

    /// Takes the new release out of the boot order.
    fn drop_new(&self) {
        let esp = self.node().esp;
        for entry in esp.entries().unwrap().iter().filter(|entry| entry.name.deployment == self.scene.new) {
            esp.remove_entry(entry).unwrap();
        }
    }

    /// What boots next, which is whole.
    fn next(&self, when: &str) -> DeploymentId {
        let node = self.node();
        let next = roles(&node).unwrap().next().unwrap_or_else(|| panic!("{when}: nothing boots")).clone();
        let kernel = node.esp.read_uki(&next.id, &next.origin.uki).unwrap();
        let sealed = cmdline::digest(&uki::cmdline(&kernel).unwrap()).unwrap();
        assert_eq!(sealed, next.origin.composefs_digest, "{when}");
        assert!(node.store.open_image(&next.origin.manifest_digest).unwrap().is_some(), "{when}: no image");
        assert_eq!(node.store.check_image(&next.origin.composefs_digest).unwrap().bad, [], "{when}");
        next.id
    }

    /// Upgrades in a process of which strace disturbs the Nth call of a kind.
    fn disturbed(&self, disturbance: Disturbance) -> Ended {
        let Disturbance { threads, calls, fault, at } = disturbance;
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "bring::faults::child", "--ignored", "--nocapture", "--test-threads=1"])
            .envs([(CHILD[0], self.path().as_os_str()), (CHILD[1], self.scene.booted.to_toml().as_ref())])
            .env(CHILD[2], &self.scene.host)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(self.path().join("said")).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.find_map(|line| line.unwrap().strip_prefix(READY).map(str::to_owned));
        let first = first.expect("the child comes up");
        let traced = if threads == Threads::All { child.id().to_string() } else { first };
        let log = self.path().join("log");
        let mut strace = Command::new("strace")
            .args(if threads == Threads::All { &["-f"][..] } else { &[] })
            .args(["-e", "signal=none", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:{fault}:when={at}"), "-o"])
            .arg(&log)
            .args(["-p", &traced])
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test needs the program strace: 'apt-get install strace'");
        // It says so when the child is attached; what it says later has to go somewhere, or it ends.
        let mut says = BufReader::new(strace.stderr.take().unwrap());
        let mut first = String::new();
        says.read_line(&mut first).unwrap();
        assert!(first.contains("attached"), "strace cannot trace its user's processes here: {first}");
        // Killed where it reads this, it does not take it any more.
        let _ = child.stdin.take().unwrap().write_all(b"\n");
        let status = wait(&mut child);
        says.read_to_end(&mut Vec::new()).unwrap();
        strace.wait().unwrap();
        let log = fs::read_to_string(log).unwrap();
        let said = fs::read_to_string(self.path().join("said")).unwrap();
        let when = format!("{disturbance:?}: {status:?}: {said}");
        let Some(status) = status else { panic!("hangs: {when}") };
        for ours in ["panicked at cli/", "panicked at crates/"] {
            assert!(!said.contains(ours), "{when}");
        }
        match (status.code(), status.signal()) {
            (Some(0), _) if !log.contains("(INJECTED)") => Ended::Undisturbed,
            (Some(0), _) => Ended::Well,
            (Some(FAILED), _) => {
                // Whoever it was, somebody can read what went wrong.
                assert!(!said.trim().is_empty(), "{when}");
                Ended::Failed
            }
            (_, Some(SIGABRT)) => Ended::Panicked,
            (_, Some(SIGKILL)) if fault == KILL => Ended::Killed,
            _ => panic!("{when}"),
        }
    }
}

/// How a disturbed upgrade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    /// There is no such call.
    Undisturbed,
    Well,
    Failed,
    Killed,
    /// In what is not ours.
    Panicked,
}

/// Waits until a process has ended; absent where it had to be killed.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < HANG {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(LOOK);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// Disturbs one upgrade, and judges what it leaves.
fn disturb(scene: &Scene, disturbance: Disturbance) -> Ended {
    let disk = Disk::of(scene);
    let ended = disk.disturbed(disturbance);
    let when = format!("{disturbance:?}: {ended:?}");
    let left = disk.files();
    let untouched = left.iter().filter(|(name, _)| scene.kept.contains_key(*name));
    let untouched: Files = untouched.map(|(name, content)| (name.clone(), content.clone())).collect();
    assert_same(&untouched, &scene.kept, &format!("{when}: what booted"));
    let next = disk.next(&when);
    assert!(next == scene.new || (next == scene.old && !matches!(ended, Ended::Undisturbed | Ended::Well)), "{when}");
    let dropped = disk.copy();
    dropped.drop_new();
    dropped.prune();
    assert_same(&dropped.files(), &scene.kept, &format!("{when}: dropped and pruned"));
    assert!(matches!(disk.upgrade(), Outcome::Staged | Outcome::Current), "{when}");
    disk.prune();
    assert_same(&disk.files(), &scene.after, &format!("{when}: run again"));
    assert_eq!(disk.next(&when), scene.new);
    ended
}

/// Disturbs an upgrade at each call of a kind; how often it ended how.
fn disturb_each(scene: &Scene, first: Disturbance, each: bool) -> BTreeMap<Ended, u32> {
    let (mut ends, mut at) = (BTreeMap::new(), first.at);
    while at < MANY {
        let ended = disturb(scene, Disturbance { at, ..first });
        *ends.entry(ended).or_default() += 1;
        if ended == Ended::Undisturbed {
            return ends;
        }
        at += if each || first.threads == Threads::First || at < EACH { 1 } else { at };
    }
    panic!("{first:?}: more than {MANY} calls");
}

#[test]
fn an_upgrade_may_fail_at_any_call() {
    let registry = Registry::start();
    let scene = Scene::new(&registry);
    let each = env::var_os(LONG).is_some();
    let jobs = FAULTS.into_iter().flat_map(|(threads, calls, faults)| {
        faults.iter().map(move |fault| Disturbance { threads, calls, fault, at: 1 })
    });
    let jobs: Mutex<VecDeque<_>> = Mutex::new(jobs.collect());
    let counted = Mutex::new(BTreeMap::<Ended, u32>::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(first) = jobs.lock().unwrap().pop_front() else { return };
                    let ends = disturb_each(&scene, first, each);
                    println!("{} {} ({:?}): {ends:?}", first.calls, first.fault, first.threads);
                    for (ended, times) in ends {
                        *counted.lock().unwrap().entry(ended).or_default() += times;
                    }
                }
            });
        }
    });
    let counted = counted.into_inner().unwrap();
    println!("all: {counted:?}");
    for ended in [Ended::Well, Ended::Failed, Ended::Killed] {
        assert!(counted.get(&ended).is_some_and(|times| *times >= AT_LEAST), "nothing was tested: {counted:?}");
    }
}

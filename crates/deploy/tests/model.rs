//! The states of a small machine, all of them, and what may happen in each: a power cut, a kill, a full disk, a clock that
//! jumps, a registry that breaks off, wrong bytes.
//!
//! A model of some lines says what the loader boots and what each command makes of it; the machine has to agree in every state.
//! Whatever happens to a command, something whole boots, what runs and what can be gone back to stay, the roles are those of
//! before the command or after it, and the same command then comes to what it would have come to.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "model/reference.rs"]
mod reference;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env,
    fs::{self, File},
    io::{self, Cursor, Read},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
    time::{Duration, SystemTime},
};

use reference::{Command, Command::*, Model};
use rocketos_boot::uki;
use rocketos_deploy::{Activation, DeployError, bless, prune, rollback};
use rocketos_model::{Booted, DeploymentId, cmdline};
use rocketos_store::StoreError;
use support::{
    Closed, Files, Machine, Shape, assert_same,
    image::{Release, release},
};

const COMMANDS: [Command; 8] = [Stage(1), Download(1), Activate, Boot, Bless, Rollback, Pin, Prune];
const RELEASES: [&str; 2] = ["1", "2"];
/// Boot entries, pins and downloads of the largest machine that goes on; more of them are older marks of the same deployments.
const MARKS: usize = 3;
/// There are at least so many states, or the model lost its arrows.
const STATES: usize = 40;
/// The system calls that a command is killed at; tests/crash.rs has the others.
const CALLS: &str = "/^rename,/^unlink";
/// More such calls than any command makes.
const MANY: u32 = 500;
/// The ordinary run kills one command of each state at one of so many first steps, a long one all at each.
const FIRST: u32 = 3;
/// Set where everything is to happen to every command.
const LONG: &str = "ROCKETOS_TESTS_LONG";
/// Says to the child what to do, on which root partition, on which ESP, having booted what.
const CHILD: [&str; 4] =
    ["ROCKETOS_MODEL_COMMAND", "ROCKETOS_MODEL_ROOT", "ROCKETOS_MODEL_ESP", "ROCKETOS_MODEL_BOOTED"];
/// Limits of the machines' file systems: more than a machine needs. They are in memory, for a disk waits whenever a machine does.
const LIMITS: [(&str, &str); 1] = [("size", "8m")];

/// Carries out a command. `target` is what a rollback goes to where a person says so.
fn act(
    machine: &mut Machine,
    releases: &[Release],
    command: Command,
    target: Option<usize>,
) -> Result<(), DeployError> {
    match command {
        Stage(number) => {
            machine.bring(&releases[number], Activation::Tried)?;
            machine.node.set_downloaded(None)
        }
        Download(number) => {
            machine.bring(&releases[number], Activation::Later)?;
            machine.node.set_downloaded(Some(&releases[number].id()))
        }
        Activate => {
            // Run again, it is activated already.
            let Some(id) = machine.node.downloaded()? else { return Ok(()) };
            rollback(&machine.node, Some(&id))?;
            machine.node.set_downloaded(None)
        }
        Boot => {
            machine.boot();
            Ok(())
        }
        Bless => bless(&machine.node).map(drop),
        Rollback => rollback(&machine.node, target.map(|target| releases[target].id()).as_ref()).map(drop),
        Pin => machine.node.pin(&machine.node.booted_deployment().unwrap()),
        Prune => prune(&machine.node, false).map(drop),
    }
}

/// A state: what the model says, and a machine that is so.
struct State {
    model: Model,
    machine: Machine,
    way: Vec<Command>,
}

/// A command, and what a rollback goes to: a person who does not know whether it went through says so.
#[derive(Debug, Clone, Copy)]
struct Step {
    command: Command,
    target: Option<usize>,
}

struct Bench {
    releases: [Release; 2],
    ids: [DeploymentId; 2],
}

impl Bench {
    fn new() -> Self {
        let releases = RELEASES.map(release);
        let ids = [0, 1].map(|number: usize| releases[number].id());
        Self { releases, ids }
    }

    /// The machine is what the model says.
    fn agrees(&self, machine: &Machine, model: &Model, when: &str) {
        let found: Vec<_> = machine.node.esp.entries().unwrap().iter().map(|entry| entry.name).collect();
        let found: Vec<_> = found.iter().map(|name| (name.deployment, name.tries.map(|tries| tries.left))).collect();
        let order = model.order();
        let expected: Vec<_> = order.iter().map(|sequence| model.entries[sequence]).collect();
        let expected: Vec<_> = expected.into_iter().map(|(release, left)| (self.ids[release], left)).collect();
        assert_eq!(found, expected, "{when}");
        assert_eq!(machine.roles(), model.shape(&self.ids), "{when}");
        let pins: BTreeSet<_> = machine.node.pins().unwrap().into_iter().collect();
        assert_eq!(pins, model.pinned.iter().map(|release| self.ids[*release]).collect(), "{when}");
        assert_eq!(machine.node.downloaded().unwrap(), model.downloaded.map(|release| self.ids[release]), "{when}");
    }

    /// It boots: kernel and image are whole and belong together.
    fn whole(machine: &Machine, id: &DeploymentId, when: &str) {
        let origin = machine.node.origin(id).unwrap().unwrap_or_else(|| panic!("{when}: {id} has no origin"));
        let kernel = machine.node.esp.read_uki(id, &origin.uki).unwrap();
        assert_eq!(cmdline::digest(&uki::cmdline(&kernel).unwrap()).unwrap(), origin.composefs_digest, "{when}");
        assert!(machine.node.store.open_image(&origin.manifest_digest).unwrap().is_some(), "{when}: no image");
        assert_eq!(machine.node.store.check_image(&origin.composefs_digest).unwrap().bad, [], "{when}");
    }

    /// What must hold whatever happened between two states.
    fn holds(&self, machine: &Machine, before: &Model, after: &Model, when: &str) {
        let roles = machine.roles();
        let [old, new] = [before, after].map(|model| model.shape(&self.ids));
        let named = |shape: &Shape| (shape.booted, shape.staged, shape.rollback, shape.next);
        assert!([named(&old), named(&new)].contains(&named(&roles)), "{when}: {roles:?}");
        let known: BTreeSet<_> = before.installed.union(&after.installed).map(|release| self.ids[*release]).collect();
        assert!(roles.others.iter().all(|other| known.contains(other)), "{when}: {roles:?}");
        for id in [roles.booted, roles.rollback, roles.next].into_iter().flatten() {
            Self::whole(machine, &id, when);
        }
    }

    /// The disk after a command that nothing happens to, pruned.
    fn undisturbed(&self, state: &State, step: &Step) -> Files {
        let mut machine = state.machine.copy_to_memory(&LIMITS, &LIMITS);
        act(&mut machine, &self.releases, step.command, step.target).unwrap();
        prune(&machine.node, false).unwrap();
        machine.files()
    }

    /// The same command comes to what it would have come to.
    fn converges(&self, mut machine: Machine, step: &Step, done: &Done<'_>, when: &str) {
        act(&mut machine, &self.releases, step.command, step.target)
            .unwrap_or_else(|error| panic!("{when}, again: {error:?}"));
        self.agrees(&machine, done.model, &format!("{when}, again"));
        prune(&machine.node, false).unwrap();
        let mut files = machine.files();
        files.retain(|name, content| done.pruned.contains_key(name) || content.is_some());
        files.retain(|name, _| !name.ends_with(".unfinished"));
        assert_same(&files, &done.pruned, when);
    }
}

/// What a command comes to that nothing happens to.
struct Done<'a> {
    model: &'a Model,
    /// The disk, pruned.
    pruned: Files,
}

/// A stream that breaks off.
struct Broken<'a>(io::Take<&'a [u8]>);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            read => Ok(read),
        }
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    FullRoot,
    FullEsp,
    /// The clock is back in 1970.
    ClockBack,
    /// The clock is a century on.
    ClockOn,
    RegistryBreaksOff,
    WrongBytes,
    /// A kill; and a power cut, by which what nobody waited for is gone besides.
    Death,
}

const EVENTS: [Event; 7] = [
    Event::FullRoot,
    Event::FullEsp,
    Event::ClockBack,
    Event::ClockOn,
    Event::RegistryBreaksOff,
    Event::WrongBytes,
    Event::Death,
];
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Event {
    /// True where it can happen to a command.
    fn fits(self, command: Command) -> bool {
        match self {
            Self::RegistryBreaksOff | Self::WrongBytes => matches!(command, Stage(_) | Download(_)),
            _ => true,
        }
    }
}

fn set_clock(top: &Path, now: SystemTime) {
    for entry in fs::read_dir(top).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            set_clock(&entry.path(), now);
        } else if kind.is_file() {
            File::open(entry.path()).unwrap().set_modified(now).unwrap();
        }
    }
}

/// Tries to bring a layer of which something else arrives; true when it was refused.
fn import(machine: &Machine, release: &Release, event: Event) -> bool {
    let mut refused = false;
    for (id, tar) in &release.layers {
        let half = tar.len() as u64 / 2;
        let mut flipped = tar.clone();
        flipped[half as usize] ^= 1;
        let result = match event {
            Event::RegistryBreaksOff => machine.node.store.import_layer(id, &mut Broken(tar.as_slice().take(half))),
            _ => machine.node.store.import_layer(id, &mut Cursor::new(flipped)),
        };
        match result {
            Err(StoreError::Read(_) | StoreError::DiffId { .. } | StoreError::Layer(_)) => refused = true,
            // It was here already, and is not read.
            Ok(stats) => assert_eq!(stats.tar_bytes, 0),
            Err(error) => panic!("{error:?}"),
        }
    }
    refused
}

/// Has an event happen before or during a command; the machine after it, and whether something failed.
fn happens(state: &State, bench: &Bench, step: &Step, event: Event) -> (Machine, bool) {
    let Step { command, target } = *step;
    match event {
        Event::FullRoot | Event::FullEsp => {
            let mut machine = state.machine.copy_to_memory(&LIMITS, &LIMITS);
            let filler = if event == Event::FullRoot { machine.fill_root() } else { machine.fill_esp() };
            let result = act(&mut machine, &bench.releases, command, target);
            if let Err(error) = &result {
                assert!(error.is_full(), "{error:?}");
            }
            fs::remove_file(filler).unwrap();
            (machine, result.is_err())
        }
        Event::ClockBack | Event::ClockOn => {
            let machine = state.machine.copy_to_memory(&LIMITS, &LIMITS);
            let now = if event == Event::ClockBack { SystemTime::UNIX_EPOCH } else { SystemTime::now() + CENTURY };
            set_clock(&machine.root(), now);
            set_clock(&machine.esp(), now);
            (machine, false)
        }
        Event::RegistryBreaksOff | Event::WrongBytes => {
            let (Stage(number) | Download(number)) = command else { panic!("{command:?} brings nothing") };
            let machine = state.machine.copy_to_memory(&LIMITS, &LIMITS);
            let refused = import(&machine, &bench.releases[number], event);
            (machine, refused)
        }
        Event::Death => panic!("a process of its own dies"),
    }
}

#[test]
#[ignore = "runs only as the process that the other test here kills"]
fn child() {
    let Ok(command) = env::var(CHILD[0]) else { return };
    let [root, esp, booted] = [CHILD[1], CHILD[2], CHILD[3]].map(|name| env::var(name).unwrap());
    let (command, target) = command.split_once(' ').unwrap();
    let command = COMMANDS[command.parse::<usize>().unwrap()];
    let releases = RELEASES.map(release);
    let closed = Closed::at(Path::new(&root), Path::new(&esp), Booted::from_toml(&booted).unwrap());
    act(&mut closed.open(), &releases, command, target.parse().ok()).unwrap();
}

/// The path by which another process comes to a file system that is attached nowhere (proc(5)).
fn for_others(path: &Path) -> PathBuf {
    Path::new("/proc").join(std::process::id().to_string()).join(path.strip_prefix("/proc/self").unwrap())
}

/// Carries out a command in a process that dies before its Nth call; true when it came to its end before.
fn survives(machine: &Closed, command: Command, target: Option<usize>, at: u32, when: &str) -> bool {
    let number = COMMANDS.iter().position(|other| *other == command).unwrap();
    let target = target.map_or("-".to_owned(), |target| target.to_string());
    let outcome = Process::new("strace")
        .args(["-f", "-qqq", "-o", "/dev/null", "-e", "signal=none", "-e", &format!("trace={CALLS}")])
        .args(["-e", &format!("inject={CALLS}:signal=KILL:when={at}")])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--test-threads=1"])
        .envs([(CHILD[0], format!("{number} {target}")), (CHILD[3], machine.booted.to_toml())])
        .envs([(CHILD[1], for_others(&machine.root())), (CHILD[2], for_others(&machine.esp()))])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .expect("this test needs the program strace: 'apt-get install strace'");
    let killed = outcome.status.signal() == Some(9) || outcome.status.code() == Some(128 + 9);
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(killed || outcome.status.success(), "{when}: {}: {said}", outcome.status);
    !killed
}

/// What a power cut leaves of a file that nobody waited for: its name.
fn tear(machine: &Machine) {
    for (name, _) in machine.files().iter().filter(|(name, _)| name.ends_with(".unfinished")) {
        let (top, relative) = name.split_once('/').unwrap();
        let top = if top == "root" { machine.root() } else { machine.esp() };
        File::create(top.join(relative)).unwrap();
    }
}

/// Kills a command at its step `at`, where it has so many; true when it died.
fn killed(state: &State, bench: &Bench, step: &Step, done: &Done<'_>, at: u32, when: &str) -> bool {
    let when = format!("{when}: killed at {at}");
    let closed = state.machine.copy_to_memory(&LIMITS, &LIMITS).close();
    if survives(&closed, step.command, step.target, at, &when) {
        return false;
    }
    let machine = closed.open();
    let cut = machine.copy_to_memory(&LIMITS, &LIMITS);
    tear(&cut);
    for machine in [machine, cut] {
        bench.holds(&machine, &state.model, done.model, &when);
        bench.converges(machine, step, done, &when);
    }
    true
}

/// What was done.
#[derive(Debug, Default)]
struct Tally {
    states: usize,
    arrows: u32,
    refusals: u32,
    events: u32,
    /// Events that made a command fail.
    failed: u32,
    deaths: u32,
}

/// Has everything happen to commands in a state: to each, or to one for each event, another in every state.
fn disturb(state: &State, bench: &Bench, steps: &[(Step, Model)], long: bool, tally: &mut Tally) {
    let mut pruned = BTreeMap::new();
    for (number, event) in EVENTS.into_iter().enumerate() {
        let fits = |(step, _): &&(Step, Model)| event.fits(step.command);
        let fitting: Vec<&(Step, Model)> = steps.iter().filter(fits).collect();
        let turn = (tally.states + number) % fitting.len().max(1);
        for (_, (step, model)) in fitting.into_iter().enumerate().filter(|(other, _)| long || *other == turn) {
            let when = format!("{:?}, then {:?}: {event:?}", state.way, step.command);
            let pruned = pruned.entry(format!("{step:?}")).or_insert_with(|| bench.undisturbed(state, step)).clone();
            let done = Done { model, pruned };
            tally.events += 1;
            if event == Event::Death {
                let first = if long { 1 } else { 1 + tally.states as u32 % FIRST };
                let ats = (first..MANY).take_while(|at| killed(state, bench, step, &done, *at, &when));
                tally.deaths += ats.take(if long { MANY as usize } else { 1 }).count() as u32;
                continue;
            }
            let (machine, fails) = happens(state, bench, step, event);
            tally.failed += u32::from(fails);
            bench.holds(&machine, &state.model, model, &when);
            bench.converges(machine, step, &done, &when);
        }
    }
}

#[test]
fn every_state_outlives_whatever_happens_in_it() {
    let bench = Bench::new();
    let first = Machine::new().running(&bench.releases[0]).copy_to_memory(&LIMITS, &LIMITS);
    let mut states = VecDeque::from([State { model: Model::new(), machine: first, way: Vec::new() }]);
    let mut seen = BTreeSet::from([states[0].model.key()]);
    let long = env::var_os(LONG).is_some();
    let mut tally = Tally::default();
    while let Some(state) = states.pop_front() {
        tally.states += 1;
        let mut steps = Vec::new();
        for command in COMMANDS {
            let when = format!("{:?}, then {command:?}", state.way);
            let mut machine = state.machine.copy_to_memory(&LIMITS, &LIMITS);
            let result = act(&mut machine, &bench.releases, command, None);
            let Some(model) = state.model.after(command) else {
                // To activate nothing is refused by who asks for it.
                assert!(result.is_err() || command == Activate, "{when}");
                bench.agrees(&machine, &state.model, &when);
                tally.refusals += 1;
                continue;
            };
            result.unwrap_or_else(|error| panic!("{when}: {error:?}"));
            tally.arrows += 1;
            bench.agrees(&machine, &model, &when);
            if command != Boot && model != state.model {
                steps.push((Step { command, target: state.model.target() }, model.clone()));
            }
            if model.marks() <= MARKS && seen.insert(model.key()) {
                bench.holds(&machine, &model, &model, &when);
                let way = [&state.way[..], &[command]].concat();
                states.push_back(State { model, machine, way });
            }
        }
        disturb(&state, &bench, &steps, long, &mut tally);
    }
    println!("{tally:?}");
    assert!(tally.states >= STATES && tally.failed > 0 && tally.deaths > 0, "nothing was tested: {tally:?}");
}

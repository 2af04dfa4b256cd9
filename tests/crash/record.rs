//! Recording: one machine does the operations, and every request to its disk is kept in the order it was done.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rocketos_model::layout;
use rocketos_replay::disk::Recording;
use rocketos_replay::log::Log;
use rocketos_replay::replay::{Fallback, Operation};
use rocketos_store::object_id_of;
use rocketos_tests::fixture::{BOOT, Fixture, REPOSITORY, TAG, UPGRADE, VERSIONS};
use rocketos_tests::installer::{self, Install};
use rocketos_tests::{Disk, Guest, OfflineDisk, Progress, Running, paths};

/// Steps that are done wrong too.
pub const UPGRADE_STEP: &str = "upgrade";
pub const SETTINGS_SET: &str = "settings set";
pub const SETTINGS_UNDO: &str = "settings undo";

/// What is done between two marks.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// The guest's shell runs this.
    Run(&'static str),
    /// The machine restarts, and its health is checked.
    Reboot,
}

/// A step of a recording.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Its name in the report.
    name: &'static str,
    action: Action,
    /// Which release the node is offered from here on.
    offered: &'static str,
}

/// Numbers of requests that were done.
#[derive(Debug, Clone, Copy)]
struct Marks {
    start: usize,
    returned: usize,
    settled: usize,
}

impl Step {
    fn operation(&self, marks: Marks) -> Operation {
        let fallback = match self.action {
            Action::Run(_) => Fallback::Never,
            Action::Reboot => Fallback::Allowed,
        };
        let Marks { start, returned, settled } = marks;
        Operation { name: self.name.to_owned(), entries: start..settled, returned, fallback }
    }
}

const fn step(name: &'static str, action: Action, offered: &'static str) -> Step {
    Step { name, action, offered }
}

const UPGRADE_NOW: Action = Action::Run("rocketctl upgrade");
const ROLLBACK_NOW: Action = Action::Run("rocketctl rollback");
const PRUNE_NOW: Action = Action::Run("rocketctl prune");

/// A loader that is written beside the one in use, to be tried by the next boot.
const LOADER_NOW: Action = Action::Run(
    "(cat /usr/lib/systemd/boot/efi/systemd-bootx64.efi; echo new) > /var/loader.efi && systemctl start rocketos-loader",
);
/// One setting, in the first generation of a deployment's settings.
const SET: Action = Action::Run("rocketctl settings set motd=first");
/// More generations than are kept, each by a request of its own.
const MANY_SETS: Action = Action::Run(
    "for i in $(seq 40); do rocketctl settings set motd=$i > /run/said || { cat /run/said; exit 1; }; done",
);
const UNDO: Action = Action::Run("rocketctl settings undo");
/// Keys of two groups, collected and changed together.
const TRANSACTION: Action = Action::Run(
    "all=/v1/transactions && rocketctl api POST $all > /run/opened && id=$(cut -d '\"' -f 4 /run/opened) && \
     rocketctl api PATCH $all/$id '{\"motd\": \"both\", \"kernel\": {\"sysctl\": {\"vm.max_map_count\": \"262145\"}}}' && \
     rocketctl api POST $all/$id/commit && test \"$(cat /etc/motd)\" = both",
);
/// One object is damaged, and fetched again.
const REPAIR: Step = step(
    "repair",
    Action::Run("systemctl stop rocketos-scrub.timer rocketos-watch-verity.service && rocketctl scrub --rate 0"),
    VERSIONS[0],
);

/// What is recorded in every run. What is added here, or below, is replayed and judged: a name, and what is done.
///
/// Settings come first, so that all that follows has some to leave as they are.
const STEPS: &[Step] = &[
    step(SETTINGS_SET, SET, VERSIONS[0]),
    step("more settings than are kept", MANY_SETS, VERSIONS[0]),
    step(SETTINGS_UNDO, UNDO, VERSIONS[0]),
    step("settings of a transaction", TRANSACTION, VERSIONS[0]),
    step(UPGRADE_STEP, UPGRADE_NOW, VERSIONS[1]),
    step("rollback", ROLLBACK_NOW, VERSIONS[1]),
    step("prune", PRUNE_NOW, VERSIONS[1]),
    step("new loader", LOADER_NOW, VERSIONS[1]),
];

/// An install onto an empty disk, which the long run records too.
const INSTALL: Step = step("install", Action::Run("rocketctl install"), VERSIONS[0]);
/// Requests of an install that are replayed: its last ones. Before them nothing can boot.
const INSTALL_TAIL: usize = 600;
/// The disk that it is installed on, in GiB.
const INSTALLED_GIB: u32 = 5;
/// The disk before, and the log, in a recording's folder.
const BASE: &str = "base.raw";
const LOG: &str = "log";

/// What the long run records after that.
const LONG_STEPS: &[Step] = &[
    step("loader kept", Action::Reboot, VERSIONS[1]),
    step("upgrade again", UPGRADE_NOW, VERSIONS[1]),
    step("first boot", Action::Reboot, VERSIONS[1]),
    step("upgrade with a rollback", UPGRADE_NOW, VERSIONS[2]),
    step("prune of nothing", PRUNE_NOW, VERSIONS[2]),
    step("second first boot", Action::Reboot, VERSIONS[2]),
    step("rollback to a good one", ROLLBACK_NOW, VERSIONS[2]),
    step("prune with a rollback", PRUNE_NOW, VERSIONS[2]),
    step("boot of the rollback", Action::Reboot, VERSIONS[2]),
];

/// A recording on the host's disk.
#[derive(Debug)]
pub struct Recorded {
    /// The disk before, raw.
    pub base: PathBuf,
    log: PathBuf,
    /// What was done, in order.
    pub operations: Vec<Operation>,
    /// An object that is not whole before.
    pub damaged: Option<String>,
}

impl Recorded {
    /// Takes up what the long run recorded in `folder`, or records: an install, and all steps.
    pub fn long(fixture: &Fixture, progress: &Progress, folder: &Path) -> Result<Vec<Self>> {
        let steps = [STEPS, LONG_STEPS].concat();
        let repair = Self::kept(&folder.join("repair"), &[REPAIR], |folder| repair(fixture, progress, folder))?;
        let install = Self::kept(&folder.join("install"), &[INSTALL], |folder| install(fixture, progress, folder))?;
        let node = |folder: &Path| Self::record(fixture, progress, folder, &steps, &fixture.disk("recorded")?);
        let damaged = Some(damaged_object(fixture)?);
        let node = Self::kept(&folder.join("node"), &steps, node)?;
        Ok(vec![install, Self { damaged, ..repair }, node])
    }

    fn kept(folder: &Path, steps: &[Step], record: impl FnOnce(&Path) -> Result<Self>) -> Result<Self> {
        let list = folder.join("operations");
        let text = match std::fs::read_to_string(&list) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let recorded = record(folder)?;
                let mut text = String::new();
                for Operation { name, entries, returned, .. } in &recorded.operations {
                    writeln!(text, "{} {returned} {} {name}", entries.start, entries.end)?;
                }
                std::fs::write(&list, text).with_context(|| format!("writing {}", list.display()))?;
                return Ok(recorded);
            }
            other => other.with_context(|| format!("reading {}", list.display()))?,
        };
        let operation = |line: &str| {
            let mut words = line.splitn(4, ' ');
            let mut number = || words.next()?.parse::<usize>().ok();
            let marks = Marks { start: number()?, returned: number()?, settled: number()? };
            let name = words.next()?;
            Some(steps.iter().find(|step| step.name == name)?.operation(marks))
        };
        let operations = text.lines().map(operation).collect::<Option<_>>();
        let operations = operations.with_context(|| format!("{} is no list of operations", list.display()))?;
        Ok(Self { base: folder.join(BASE), log: folder.join(LOG), operations, damaged: None })
    }

    /// Records what every run does, in `folder`.
    pub fn fresh(fixture: &Fixture, progress: &Progress, folder: &Path) -> Result<Self> {
        Self::record(fixture, progress, folder, STEPS, &fixture.disk("recorded")?)
    }

    /// Opens it, to be replayed.
    pub fn open(&self) -> Result<Recording> {
        let log = Log::open(&self.log)?;
        Recording::new(&self.base, log).with_context(|| format!("opening {}", self.base.display()))
    }

    fn record(fixture: &Fixture, progress: &Progress, folder: &Path, steps: &[Step], disk: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let (base, log) = (folder.join(BASE), folder.join(LOG));
        progress.step("a copy of the disk", || {
            fixture.tools.run("qemu-img").args(["convert", "-q", "-O", "raw"]).arg(disk).arg(&base).quiet()
        })?;
        std::fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let machine = fixture.machine_with("recorded", Disk::qcow2(disk).recorded(&log));
        let mut machine = fixture.with_another_loader(machine).start()?;
        let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
        guest.wait_booted(BOOT)?;
        let mut operations = Vec::new();
        for step in steps {
            fixture.tag(step.offered)?;
            let marks = progress.step(step.name, || during(&mut guest, &log, step))?;
            operations.push(step.operation(marks));
        }
        end(guest, machine)?;
        Ok(Self { base, log, operations, damaged: None })
    }
}

/// Records an install; its machine ends when it is done, so it returned with its last request. The requests before the last
/// ones go into the disk before: making the file systems asks for gigabytes of zeros.
fn install(fixture: &Fixture, progress: &Progress, folder: &Path) -> Result<Recorded> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let (base, log) = (folder.join(BASE), folder.join(LOG));
    let work = tempfile::tempdir_in(folder).context("making a folder to work in")?;
    let (empty, whole) = (work.path().join("empty"), work.path().join("log"));
    let from = format!("docker://{}/{REPOSITORY}:{}", fixture.registry.on_host(), VERSIONS[0]);
    let install =
        Install { size: INSTALLED_GIB, record: Some(whole.clone()), ..Install::new(&from, &fixture.reference(TAG)) };
    installer::disk(&fixture.tools, progress, &install, &work.path().join("installed"))?;
    std::fs::File::create(&empty)?.set_len(u64::from(INSTALLED_GIB) << 30)?;
    progress.step("the last steps of it", || {
        let recording = Recording::new(&empty, Log::open(&whole)?)?;
        let first = recording.entries.len().saturating_sub(INSTALL_TAIL);
        let disk = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&base)?;
        disk.set_len(recording.size)?;
        recording.lay(first, &disk)?;
        recording.write_log(first, &log)?;
        let settled = recording.entries.len() - first;
        let marks = Marks { start: 0, returned: settled, settled };
        Ok(Recorded { base: base.clone(), log: log.clone(), operations: vec![INSTALL.operation(marks)], damaged: None })
    })
}

/// The configuration of the release that is installed: nothing needs it to boot.
fn damaged_object(fixture: &Fixture) -> Result<String> {
    Ok(object_id_of(&fixture.configuration(0)?).to_hex())
}

/// Records a scrub that mends a disk.
fn repair(fixture: &Fixture, progress: &Progress, folder: &Path) -> Result<Recorded> {
    let id = damaged_object(fixture)?;
    let damaged = fixture.scratch().join("damaged.qcow2");
    progress.step("a damaged object", || {
        let offline = OfflineDisk::copy(&fixture.tools, &fixture.disk("whole")?, &fixture.scratch().join("damaged"))?;
        let object = format!("/{}/{}/{}", layout::root::STORE_OBJECTS, &id[..2], &id[2..]);
        offline.flip(offline.first_byte_of(&object)? + 10)?;
        offline.write_back(&fixture.tools, &damaged)
    })?;
    Recorded::record(fixture, progress, folder, &[REPAIR], &damaged)
}

fn end(guest: Guest, machine: Running) -> Result<()> {
    drop(guest);
    machine.cut_power()
}

fn during(guest: &mut Guest, log: &Path, step: &Step) -> Result<Marks> {
    let start = Log::count(log)?;
    match step.action {
        Action::Run(command) => drop(guest.check(command, UPGRADE)?),
        Action::Reboot => {
            guest.reboot(BOOT)?;
            guest.wait_booted(BOOT)?;
        }
    }
    // No sync before this: what was left in a cache is what a power cut takes.
    let returned = Log::count(log)?;
    guest.ask("sync")?;
    Ok(Marks { start, returned, settled: Log::count(log)? })
}

/// Where the recording of an ordinary run lies, until the next one.
pub fn folder() -> PathBuf {
    paths::work().join("crash")
}

//! The loader's update, judged by a firmware that picks as UEFI's boot manager does: BootNext once, then the order, then
//! the path it knows by itself. A program that is broken brings nothing up, and the next in order is taken.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    env, fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rocketos_boot::loader::{EspPartition, Firmware, loader_path};
use rocketos_deploy::{ATTEMPTS, LoaderState, LoaderUpdate, Node};
use rocketos_model::{Booted, layout};
use rocketos_store::Verity;
use rocketos_sys::{
    efivar::{LOADER_DEVICE_PART_UUID, LOADER_IMAGE_IDENTIFIER, Variables},
    gpt::Guid,
};
use support::{Closed, Machine, image::release};

const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const GUID: &str = "f586c90a-35a3-a8f2-4943-3ef0837cdce3";
/// The loader of the first image (`support`).
const OLD: &[u8] = b"loader";
const NEW: &[u8] = b"another loader";
const BROKEN: &[u8] = b"broken loader";
/// Says to the child where ESP, root partition and variables are, what was booted, and which loader the image has.
const CHILD: [&str; 5] = [
    "ROCKETOS_LOADER_ROOT",
    "ROCKETOS_LOADER_ESP",
    "ROCKETOS_LOADER_VARIABLES",
    "ROCKETOS_LOADER_BOOTED",
    "ROCKETOS_LOADER_BYTES",
];
/// The system calls that a process may die at.
const CALLS: [&str; 6] = ["/^rename", "/^unlink", "/^mkdir", "fsync,fdatasync", "syncfs", "write"];
/// More calls of one kind than the update makes.
const MANY: u32 = 300;
/// Boots after which every update has come to its end.
const BOOTS: u32 = 2 * ATTEMPTS + 1;

fn firmware(variables: &Path) -> Firmware {
    let guid = Guid::parse(GUID).unwrap();
    Firmware::at(Variables::at(variables), EspPartition { number: 1, start: 2048, sectors: 2048, guid })
}

fn text(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// A machine's firmware, and how often it booted.
struct Bench {
    variables: tempfile::TempDir,
    boots: u32,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { variables: tempfile::tempdir().unwrap(), boots: 0 };
        // What firmware makes by itself for a disk: no file is named.
        bench.set("Boot0001", b"\x01\0\0\0\x04\0d\0\0\0\x7f\xff\x04\0");
        bench.set("BootOrder", &[1, 0]);
        bench
    }

    fn at(&self) -> Variables {
        Variables::at(self.variables.path())
    }

    fn set(&self, name: &str, value: &[u8]) {
        self.at().set(&format!("{name}-{GLOBAL}"), value).unwrap();
    }

    fn numbers(&self, name: &str) -> Vec<u16> {
        let value = self.at().value(&format!("{name}-{GLOBAL}")).unwrap().unwrap_or_default();
        value.chunks_exact(2).map(|number| u16::from_le_bytes([number[0], number[1]])).collect()
    }

    /// The file that an option starts.
    fn file(&self, number: u16) -> Option<String> {
        let option = self.at().value(&format!("Boot{number:04X}-{GLOBAL}")).unwrap()?;
        let units: Vec<u16> = option.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        let text = String::from_utf16_lossy(&units);
        Some(match text.find("\\EFI") {
            Some(at) => text[at + 1..].split('\0').next().unwrap().replace('\\', "/"),
            None => layout::esp::LOADER_FALLBACK.to_owned(),
        })
    }

    /// Boots; returns the bytes of the loader that came up.
    fn boot(&mut self, esp: &Path) -> Vec<u8> {
        self.boots += 1;
        let mut tried = self.numbers("BootNext");
        self.at().remove(&format!("BootNext-{GLOBAL}")).unwrap();
        tried.extend(self.numbers("BootOrder"));
        let files = tried.iter().filter_map(|number| self.file(*number));
        for file in files.chain([layout::esp::LOADER_FALLBACK.to_owned()]) {
            let bytes = fs::read(esp.join(&file)).unwrap_or_default();
            if [OLD, NEW].contains(&&*bytes) {
                self.set("BootCurrent", &[1, 0]);
                self.at().set(LOADER_IMAGE_IDENTIFIER, &text(&format!("\\{}", file.replace('/', "\\")))).unwrap();
                self.at().set(LOADER_DEVICE_PART_UUID, &text(GUID)).unwrap();
                return bytes;
            }
        }
        panic!("no loader comes up");
    }

    fn advance(&self, node: &Node, loader: &[u8]) -> LoaderState {
        let (firmware, boot) = (firmware(self.variables.path()), format!("boot {}", self.boots));
        let update = LoaderUpdate { firmware: Some(&firmware), loader, boot: &boot };
        update.advance(node).unwrap()
    }
}

#[test]
fn a_new_loader_is_first_after_a_good_boot_with_it() {
    let (machine, mut bench) = (Machine::new(), Bench::new());
    assert_eq!(bench.boot(&machine.esp()), OLD);
    assert_eq!(bench.advance(&machine.node, OLD), LoaderState::Current);
    assert_eq!(bench.numbers("BootOrder"), [0, 2, 3, 4, 1], "as often as a damaged kernel takes");
    assert_eq!(bench.advance(&machine.node, NEW), LoaderState::Trying);
    assert_eq!(bench.advance(&machine.node, NEW), LoaderState::Trying);
    assert_eq!(bench.numbers("BootOrder"), [0, 2, 3, 4, 1], "the order keeps the old one");
    assert_eq!(bench.boot(&machine.esp()), NEW);
    assert_eq!(bench.advance(&machine.node, NEW), LoaderState::Current);
    assert_eq!(bench.numbers("BootOrder"), [5, 6, 7, 8, 1]);
    assert_eq!(fs::read(machine.esp().join(layout::esp::LOADER_FALLBACK)).unwrap(), NEW);
    assert_eq!(bench.boot(&machine.esp()), NEW);
    assert_eq!(bench.advance(&machine.node, NEW), LoaderState::Current);
    // And back, for neither says which version it is.
    assert_eq!(bench.advance(&machine.node, OLD), LoaderState::Trying);
    assert_eq!(bench.boot(&machine.esp()), OLD);
    assert_eq!(bench.advance(&machine.node, OLD), LoaderState::Current);
    assert_eq!(machine.node.esp.loaders().unwrap(), [loader_path(OLD)]);
    assert_eq!(bench.numbers("BootOrder").len(), 5);
}

#[test]
fn a_boot_that_is_not_good_keeps_the_old_loader() {
    let (machine, mut bench) = (Machine::new(), Bench::new());
    bench.boot(&machine.esp());
    assert_eq!(bench.advance(&machine.node, NEW), LoaderState::Trying);
    assert_eq!(bench.boot(&machine.esp()), NEW);
    // Nobody called it good.
    assert_eq!(bench.boot(&machine.esp()), OLD);
    assert_eq!(bench.advance(&machine.node, NEW), LoaderState::Trying);
    assert_eq!(bench.boot(&machine.esp()), NEW);
    assert_eq!(bench.boot(&machine.esp()), OLD);
    assert_eq!(bench.advance(&machine.node, NEW), LoaderState::Failed);
}

#[test]
fn a_broken_loader_is_given_up() {
    let (machine, mut bench) = (Machine::new(), Bench::new());
    for _ in 0..ATTEMPTS {
        assert_eq!(bench.boot(&machine.esp()), OLD);
        assert_eq!(bench.advance(&machine.node, BROKEN), LoaderState::Trying);
    }
    for _ in 0..3 {
        assert_eq!(bench.boot(&machine.esp()), OLD);
        assert_eq!(bench.advance(&machine.node, BROKEN), LoaderState::Failed);
        assert_eq!(bench.numbers("BootOrder"), [1]);
    }
    // Another one is another matter.
    assert_eq!(bench.advance(&machine.node, NEW), LoaderState::Trying);
    assert_eq!(bench.boot(&machine.esp()), NEW);
    assert_eq!(bench.advance(&machine.node, NEW), LoaderState::Current);
    assert_eq!(machine.node.esp.loaders().unwrap(), [loader_path(NEW)]);
}

#[test]
fn an_older_loader_never_comes_back() {
    let version = |version: &str| format!("#### LoaderInfo: systemd-boot {version} ####").into_bytes();
    let (machine, bench) = (Machine::new(), Bench::new());
    machine.node.esp.install_loader(&version("258.1")).unwrap();
    assert_eq!(bench.advance(&machine.node, &version("257.13")), LoaderState::Older);
    assert_eq!(machine.node.esp.loaders().unwrap(), Vec::<String>::new());
}

#[test]
fn a_firmware_that_keeps_nothing_is_reported() {
    let machine = Machine::new();
    let none = LoaderUpdate { firmware: None, loader: NEW, boot: "a" };
    assert_eq!(none.advance(&machine.node).unwrap(), LoaderState::NoVariables);
    assert_eq!(LoaderUpdate { loader: OLD, ..none }.advance(&machine.node).unwrap(), LoaderState::Current);
    assert_eq!(machine.node.esp.loaders().unwrap(), Vec::<String>::new());
    // Some show variables and take none.
    let (mount, bench) = (support::memory(&[("size", "4k"), ("nr_inodes", "2")]), Bench::new());
    let full = rocketos_sys::mount::fd_path(&mount);
    fs::write(full.join("filler"), [1; 4096]).unwrap();
    let firmware = firmware(&full);
    let update = LoaderUpdate { firmware: Some(&firmware), loader: NEW, boot: "a" };
    assert_eq!(update.advance(&machine.node).unwrap(), LoaderState::NoVariables);
    assert_eq!(bench.numbers("BootOrder"), [1]);
}

#[test]
#[ignore = "runs only as the process that the other test here kills"]
fn child() {
    let Ok(root) = env::var(CHILD[0]) else { return };
    let [esp, variables] = [CHILD[1], CHILD[2]].map(|name| PathBuf::from(env::var(name).unwrap()));
    let booted = Booted::from_toml(&env::var(CHILD[3]).unwrap()).unwrap();
    let node = Node::at(Path::new(&root), &esp, Verity::Optional, Some(booted)).unwrap();
    let (firmware, loader) = (firmware(&variables), env::var(CHILD[4]).unwrap());
    let update = LoaderUpdate { firmware: Some(&firmware), loader: loader.as_bytes(), boot: "killed" };
    update.advance(&node).unwrap();
}

/// Runs one step in a process that dies before its Nth call of a kind; true when it came to its end before.
fn survives(bench: &Bench, machine: &Closed, loader: &[u8], call: &str, at: u32) -> bool {
    let paths = [machine.root(), machine.esp(), bench.variables.path().to_owned()];
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qqq", "-o", "/dev/null", "-e", "signal=none", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=KILL:when={at}")])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--test-threads=1"])
        .envs(CHILD.into_iter().zip(&paths))
        .env(CHILD[3], machine.booted.to_toml())
        .env(CHILD[4], str::from_utf8(loader).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = command.status().expect("this test needs the program strace: 'apt-get install strace'");
    let killed = status.signal() == Some(9) || status.code() == Some(128 + 9);
    assert!(killed || status.success(), "{call} {at}: {status}");
    !killed
}

/// Kills each step at each of its calls; the machine comes up every time, and comes to the end in the boots after.
fn dies_anywhere(loader: &[u8], steps: u32, end: &[u8]) {
    let mut deaths = 0;
    for step in 0..steps {
        for call in CALLS {
            for at in 1..MANY {
                let (machine, mut bench) = (Machine::new().running(&release("1")), Bench::new());
                for _ in 0..step {
                    bench.boot(&machine.esp());
                    bench.advance(&machine.node, loader);
                }
                bench.boot(&machine.esp());
                let closed = machine.close();
                if survives(&bench, &closed, loader, call, at) {
                    break;
                }
                let machine = closed.open();
                deaths += 1;
                for _ in 0..BOOTS {
                    bench.boot(&machine.esp());
                    bench.advance(&machine.node, loader);
                }
                assert_eq!(bench.boot(&machine.esp()), end, "step {step}, killed at {call} {at}");
                let left: Vec<_> = machine.node.esp.loaders().unwrap();
                assert_eq!(left, [loader_path(loader)], "step {step}, killed at {call} {at}");
            }
        }
    }
    assert!(deaths > 15, "it died {deaths} times only");
}

#[test]
fn an_update_of_the_loader_may_die_anywhere() {
    dies_anywhere(NEW, 2, NEW);
}

#[test]
fn an_update_to_a_broken_loader_may_die_anywhere() {
    dies_anywhere(BROKEN, 1, OLD);
}

//! `test`: all tests, in sections with durations.

mod beside;
mod causes;
mod fuzz;
mod network;
mod rounds;
mod sections;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rocketos_tests::command::Run;
use rocketos_tests::fixture::{CONTENT, Fixture, READY};
use rocketos_tests::{Images, Progress, Tools, paths};

use self::network::Network;

/// What one section may take.
const SECTION: Duration = Duration::from_secs(4800);
/// What the sections of `--long` may take each.
const LONG_SECTION: Duration = Duration::from_secs(12 * 3600);
/// Tells the tests that hours may pass.
const LONG: &str = "ROCKETOS_TESTS_LONG";
/// Integration tests of `rocketos-tests`, in the order they run. Each that machines or images take part in runs its
/// tests one after the other: two machines at once would starve each other.
const SECTIONS: &[(&str, &str)] = &[
    ("harness", "the harness itself"),
    (TRUST, "images and metadata that lie"),
    ("image", "images"),
    ("cli", "rocketctl, and what it refuses"),
    (MACHINES, "machines: install, upgrade, roll back"),
    ("settings", "machines: settings and user data"),
    ("attack", "machines: tampering"),
    ("crash", "machines: power cuts"),
    ("machine", "machines: what rocketctl refuses, and installing from a container"),
];

/// The section of machines that live, and of those that fail.
const MACHINES: &str = "boot";
/// The section in which machines fail again and again; only with `--long`.
const FAILURES: &str = "failures";
/// The section of tests that need neither images nor machines.
const UNITS: &str = "units";
/// The section that searches for what breaks a parser; without `--long` it runs the corpora alone, which `units` does too.
const FUZZ: &str = "fuzz";
/// The section that looks at what arrives, on the host.
const TRUST: &str = "trust";
/// Sections of `rocketos-tests` that need no images of ours.
const WITHOUT_IMAGES: [&str; 2] = ["harness", TRUST];

/// Sections that run beside those of machines, as the units do: machines leave a processor idle half of the time, and none of
/// these uses what they share.
const BESIDE: [&str; 4] = ["harness", TRUST, "image", "cli"];
/// Sections of machines that run there too, in a network and with a registry of their own; where this process may make no
/// network, with the other machines.
const APART: [&str; 4] = ["settings", "attack", "crash", "machine"];

/// Bytes that a whole run takes: half of it images and what they are built from, in podman's storage.
const ROOM: u64 = 40 << 30;

/// How to test.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run for hours: twenty thousand states that power cuts may leave, some of them booted; machines that fail, again and again,
    /// and two hundred upgrades on one disk; thirty CPU-minutes for each fuzz target.
    #[arg(long)]
    long: bool,
    /// Only the sections so named: units, fuzz, harness, trust, image, cli, boot, settings, attack, crash, machine, failures.
    sections: Vec<String>,
}

/// Runs them; the first section that fails ends it.
pub fn run(args: &Args) -> Result<()> {
    known(&args.sections)?;
    let progress = Progress::new();
    let free = paths::free().context("looking for free space")?;
    if free < ROOM {
        progress.say(&format!("{} GiB are free; a whole run takes {}, or fails in odd places", free >> 30, ROOM >> 30));
    }
    let tools = Tools::ensure(&progress)?;
    let path = tools.search_path(&progress)?;
    let chosen = |name: &str| args.sections.is_empty() || args.sections.iter().any(|section| section == name);
    let limit = if args.long { LONG_SECTION } else { SECTION };
    let started = |start: Run, words: &[&str]| {
        let run = start.arg("test").args(words).env(READY, "1").env("PATH", &path).limit(limit).printed();
        // What failed says itself what it was doing; a backtrace would only hide that.
        let run = run.env("RUST_BACKTRACE", "0");
        if args.long { run.env(LONG, "1") } else { run }
    };
    let cargo = |words: &[&str]| started(Run::new("cargo"), words);
    let present: Vec<_> = SECTIONS.iter().filter(|(name, _)| chosen(name) && exists(name)).collect();
    let again = args.long && chosen(FAILURES);
    if again || present.iter().any(|(name, _)| !WITHOUT_IMAGES.contains(name)) {
        section("images for the tests");
        Images::new(&progress).foundation()?;
        Fixture::ready(&progress)?;
    }
    // All at once: cargo lets one compile at a time, and those that wait for it would be machines.
    if args.sections.is_empty() {
        section("tests");
        progress.step("compiling the tests", || cargo(&["--workspace", "--no-run"]).attached())?;
    }
    let shared = present.iter().any(|(name, _)| !APART.contains(name));
    let apart = present.iter().any(|(name, _)| APART.contains(name)) && shared;
    let network = if apart { Network::new() } else { None };
    let content = network.as_ref().map(|_| Fixture::content_apart()).transpose()?;
    let of = |name: &str| {
        let mut words = vec!["-p", "rocketos-tests", "--test", name, "--", "--nocapture", "--test-threads=1"];
        if args.long {
            words.push("--include-ignored");
        }
        let run = match (&network, content) {
            (Some(network), Some(content)) if APART.contains(&name) => {
                started(network.start().arg("cargo"), &words).env(CONTENT, content)
            }
            _ => cargo(&words),
        };
        // Plain HTTP only: reading the system's authorities for each registry would take half of the time.
        if name == TRUST { run.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/") } else { run }
    };
    let units = [
        ("units and commands", cargo(&["--workspace", "--exclude", "rocketos-tests"])),
        ("units of the harness", cargo(&["-p", "rocketos-tests", "--lib"])),
    ];
    let beside = |name: &str| BESIDE.contains(&name) || (network.is_some() && APART.contains(&name));
    let sections = present.into_iter().map(|(name, title)| (beside(name), *title, of(name)));
    let units = units.into_iter().filter(|_| chosen(UNITS)).map(|(title, run)| (true, title, run));
    let all: Vec<_> = units.chain(sections).collect();
    let alone = all.iter().all(|(beside, ..)| *beside);
    let (beside, machines): (Vec<_>, Vec<_>) = all.into_iter().partition(|(beside, ..)| !alone && *beside);
    std::thread::scope(|scope| {
        let beside = scope.spawn(move || beside::run(beside.into_iter().map(|(_, title, run)| (title, run))));
        let mut outcome = Ok(());
        for (_, title, run) in machines {
            section(title);
            let began = Instant::now();
            outcome = progress.step(title, || {
                let (well, printed) = run.echoed()?;
                ensure!(well, "failed: {title}\n{}", causes::of(&printed));
                if args.long { sections::add(&progress, &tools, title, &printed, began.elapsed()) } else { Ok(()) }
            });
            if outcome.is_err() {
                break;
            }
        }
        let told = beside::tell(beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), &progress);
        match (told, outcome) {
            (Err(beside), Err(machines)) => Err(machines.context(format!("{beside:#}"))),
            (told, outcome) => told.and(outcome),
        }
    })?;
    if again {
        section("machines that fail, again");
        rounds::run(&progress, &tools, |shape| {
            let words = ["-p", "rocketos-tests", "--test", MACHINES, "--", "--nocapture", "--test-threads=1"];
            cargo(&[&words[..], &[&format!("{shape}::")]].concat())
        })?;
    }
    if args.long && chosen(FUZZ) {
        section("fuzzing");
        fuzz::run(&progress)?;
    } else if args.sections.iter().any(|section| section == FUZZ) {
        section("corpora of the fuzz targets");
        progress.step("corpora of the fuzz targets", || cargo(&["-p", "rocketos-fuzz"]).attached())?;
    }
    println!("\n{}", progress.table());
    Ok(())
}

/// An error that names the first section nobody knows.
fn known(sections: &[String]) -> Result<()> {
    let known = |name: &String| {
        [UNITS, FUZZ, FAILURES].contains(&name.as_str()) || SECTIONS.iter().any(|(section, _)| section == name)
    };
    match sections.iter().find(|name| !known(name)) {
        Some(stranger) => bail!("there is no section '{stranger}'; 'cargo xtask test --help' names them"),
        None => Ok(()),
    }
}

fn section(title: &str) {
    println!("\n== {title}");
}

/// A section without tests yet is passed over; cargo would take its name for a mistake.
fn exists(name: &str) -> bool {
    let manifest = paths::workspace().join("tests/Cargo.toml");
    let line = format!("name = \"{name}\"");
    std::fs::read_to_string::<&Path>(&manifest).is_ok_and(|text| text.lines().any(|found| found == line))
}

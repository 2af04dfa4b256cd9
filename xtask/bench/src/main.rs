//! `cargo xtask bench`: measures, and writes a table and JSON into target/bench/.
//!
//! A program of its own, because it calls the crates that it measures, and those need libraries that `xtask` installs.
//!
//! One file per measurement below. A figure is reported beside its budget and never asserted: machines differ, and a
//! busy one tells little. What is compared is measured in turn, in one run, on one machine.

mod boot;
mod cost;
mod figure;
mod node;
mod pull;
mod pull_vm;
mod readme;
mod releases;
mod size;
mod store;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rocketos_tests::{Images, Progress, Registry, Tools, paths};

use figure::Figures;

/// The version that measured releases of this checkout bear, unless they are several.
const VERSION: &str = "0.9.1";

/// What to measure.
#[derive(Debug, clap::Parser)]
struct Args {
    /// One measurement (pull, pull-vm, store, size, boot); all where absent.
    name: Option<String>,
    /// How often what is compared is measured, one after the other in turn.
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Take the images of an earlier run as they are.
    #[arg(long)]
    no_build: bool,
    /// An image in podman's storage, such as dev of an earlier commit: `boot` boots it in turn with this checkout's.
    #[arg(long, value_name = "IMAGE")]
    before: Option<String>,
    /// Measure nothing, and write the figures of the newest run into README.
    #[arg(long)]
    readme: bool,
    /// Run the command after `--` and write what it and its children cost to this file.
    #[arg(long, hide = true, value_name = "FILE")]
    cost: Option<PathBuf>,
    /// Pull and stage this reference, in the folder after `--`.
    #[arg(long, hide = true, value_name = "REFERENCE")]
    pull: Option<String>,
    #[arg(last = true, hide = true)]
    command: Vec<std::ffi::OsString>,
}

/// What every measurement needs.
struct Bench {
    progress: Progress,
    tools: Tools,
    /// A folder that ends with the run.
    work: tempfile::TempDir,
    /// The same with a short path, for podman's runroot: it may have 50 characters.
    short: tempfile::TempDir,
    pairs: usize,
    build: bool,
    /// What is measured beside this checkout.
    before: Option<String>,
}

type Measurement = fn(&Bench) -> Result<Figures>;

/// The measurements, cheap ones first.
const ALL: &[(&str, Measurement)] = &[
    ("size", size::measure),
    ("pull", pull::measure),
    ("store", store::measure),
    ("pull-vm", pull_vm::measure),
    ("boot", boot::measure),
];

fn main() -> Result<()> {
    use clap::Parser as _;
    // As rocketctl does.
    rocketos_deploy::share_one_heap();
    run(&Args::parse())
}

/// Measures.
fn run(args: &Args) -> Result<()> {
    if let Some(file) = &args.cost {
        return cost::run_and_write(&args.command, file);
    }
    if let Some(reference) = &args.pull {
        let folder = args.command.first().context("a folder after --")?;
        return pull::pull_and_stage(reference, Path::new(folder));
    }
    let folder = paths::target().join("bench");
    if args.readme {
        return readme::write(&folder);
    }
    let chosen: Vec<_> =
        ALL.iter().filter(|(name, _)| args.name.as_deref().is_none_or(|wanted| wanted == *name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
        bail!("there is no such measurement; there are {}", names.join(", "));
    }
    let bench = Bench::new(args)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut tables = String::new();
    for (name, measure) in chosen {
        eprintln!("\n== {name}");
        let figures = measure(&bench).with_context(|| format!("measuring {name}"))?;
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, figures.json(name)).with_context(|| format!("writing {}", file.display()))?;
        tables.push_str(&format!("\n{name}\n{}", figures.table()));
    }
    println!("{tables}");
    Ok(())
}

impl Bench {
    fn new(args: &Args) -> Result<Self> {
        let progress = Progress::new();
        let tools = Tools::ensure(&progress)?;
        std::fs::create_dir_all(paths::work())?;
        let work = tempfile::Builder::new().prefix("bench-").tempdir_in(paths::work()).context("making a folder")?;
        let short = tempfile::Builder::new().prefix("rocketos-").tempdir().context("making a folder")?;
        let (pairs, build, before) = (args.pairs.max(1), !args.no_build, args.before.clone());
        let bench = Self { progress, tools, work, short, pairs, build, before };
        if bench.build {
            Images::new(&bench.progress).foundation()?;
        }
        Ok(bench)
    }

    /// A release of a variant of this checkout; its name in podman's storage.
    fn variant(&self, variant: &str, version: &str) -> Result<String> {
        if self.build {
            Images::new(&self.progress).variant(variant, version).map(|release| release.image)
        } else {
            Ok(format!("localhost/rocketos/{variant}:{version}"))
        }
    }

    /// A registry with nothing in it, in a folder that ends with the run.
    fn registry(&self, name: &str) -> Result<Registry> {
        Registry::start(&self.tools, &self.work.path().join(name))
    }

    fn push(&self, image: &str, registry: &Registry, repository: &str, tag: &str) -> Result<String> {
        Images::new(&self.progress).push(image, registry, repository, tag)
    }
}

//! `demo`: a node's life in a few minutes, from building its image to rolling it back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rocketos_tests::installer::{self, Install};
use rocketos_tests::{Disk, Guest, Images, Machine, Progress, Registry, Tools, paths};

/// What a boot may take in an emulated machine on a busy host.
const BOOT: Duration = Duration::from_secs(300);
/// What an upgrade may take there.
const UPGRADE: Duration = Duration::from_secs(600);
/// What a command that only looks may take there.
const LOOK: Duration = Duration::from_secs(60);
const VARIANT: &str = "dev";
const VERSIONS: [&str; 2] = ["1.0.0", "1.0.1"];
const REPOSITORY: &str = "rocketos/dev";
/// What the node follows.
const TAG: &str = "stable";
const MEMORY: u32 = 1536;

/// How to show it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the disk, for `cargo xtask run <disk>`.
    #[arg(long)]
    keep: bool,
}

/// Shows it and prints a table of what happened.
pub fn run(args: &Args) -> Result<()> {
    let progress = Progress::new();
    let tools = Tools::ensure(&progress)?;
    let images = Images::new(&progress);
    images.foundation()?;
    let [first, second] = VERSIONS.map(|version| images.variant(VARIANT, version));
    let (first, second) = (first?, second?);

    std::fs::create_dir_all(paths::work())?;
    let work = tempfile::Builder::new().prefix("demo-").tempdir_in(paths::work()).context("making a folder")?;
    let registry = Registry::start(&tools, &work.path().join("registry"))?;
    images.push(&first.image, &registry, REPOSITORY, TAG)?;

    let disk = work.path().join("node.qcow2");
    let install = Install::new(
        &format!("docker://{}/{REPOSITORY}:{TAG}", registry.on_host()),
        &format!("docker://{}/{REPOSITORY}:{TAG}", registry.in_guest()),
    );
    installer::disk(&tools, &progress, &install, &disk)?;
    images.push(&second.image, &registry, REPOSITORY, TAG)?;
    live(&tools, &progress, &registry, &disk)?;

    println!("\n{}", progress.table());
    if args.keep {
        let kept = keep(&disk)?;
        println!("the disk is {}; boot it with: cargo xtask run {}", kept.display(), kept.display());
    }
    Ok(())
}

/// Boots the disk and takes it through an upgrade and a rollback.
fn live(tools: &Tools, progress: &Progress, registry: &Registry, disk: &Path) -> Result<()> {
    let mut machine = Machine::new(tools, "node")
        .memory(MEMORY)
        .disk(Disk::qcow2(disk))
        .with_shell()
        .file("/etc/containers/registries.conf.d/50-demo.conf", &registry.guest_configuration())
        .time_limit(BOOT * 3 + UPGRADE)
        .start()?;
    let mut guest = progress.step("booting the first release", || {
        let mut guest = machine.wait_for_shell(BOOT)?;
        guest.wait_booted(BOOT)?;
        Ok(guest)
    })?;
    expect_version(&mut guest, VERSIONS[0])?;
    progress.step("upgrading over the network", || guest.check("rocketctl upgrade", UPGRADE))?;
    progress.step("booting the second release", || reboot(&mut guest))?;
    expect_version(&mut guest, VERSIONS[1])?;
    progress.step("rolling back", || guest.check("rocketctl rollback", UPGRADE))?;
    progress.step("booting the first release again", || reboot(&mut guest))?;
    expect_version(&mut guest, VERSIONS[0])?;
    let status = guest.check("rocketctl status", LOOK)?;
    println!("\nrocketctl status on the node:\n{status}");
    progress.step("powering off", || {
        // The answer may be lost in the shutdown.
        let _ = guest.run("systemctl poweroff", Duration::from_secs(5));
        machine.wait_for_end(BOOT)
    })?;
    Ok(())
}

fn reboot(guest: &mut Guest) -> Result<()> {
    guest.reboot(BOOT)?;
    guest.wait_booted(BOOT).map(drop)
}

fn expect_version(guest: &mut Guest, expected: &str) -> Result<()> {
    let found = guest.ask(". /usr/lib/os-release && echo \"$VERSION_ID\"")?;
    ensure!(found == expected, "expected release {expected} to run, found {found}");
    Ok(())
}

fn keep(disk: &Path) -> Result<PathBuf> {
    let kept = paths::work().join("demo.qcow2");
    std::fs::rename(disk, &kept).with_context(|| format!("renaming to {}", kept.display()))?;
    Ok(kept)
}

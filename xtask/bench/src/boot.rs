//! `boot`: the phases of a boot and the memory after it, against the same tree on plain ext4 with an initramfs by
//! initramfs-tools.
//!
//! The plain machine has no firmware of its own to speak of (QEMU hands over its kernel), so only what follows the
//! kernel is compared: firmware and loader are the same for both by nature.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rocketos_tests::command::Run;
use rocketos_tests::images::{SOURCE_DATE_EPOCH, copy_out};
use rocketos_tests::{Disk, Format, Guest, Machine};

use crate::figure::{Figures, INITRAMFS_TIME, MEMORY_MIB, USER_SPACE, mb, median, name};
use crate::node::{self, BOOT, Memory, Node};
use crate::{Bench, releases};

const CONTAINERFILE: &str = include_str!("initramfs-tools/Containerfile");
/// The image that holds what initramfs-tools made.
const PLAIN: &str = "localhost/rocketos/bench-initramfs-tools";
const BUILD_LIMIT: Duration = Duration::from_secs(1200);
/// Only the unified hierarchy has this file; runtimes cannot start containers on the others.
const UNIFIED_CGROUPS: &str = "/sys/fs/cgroup/cgroup.controllers";
/// Kernel arguments of the plain machine: those of kernel/cmdline, and its root.
const CMDLINE: &str = "root=/dev/vda rw console=ttyS0,115200 loglevel=4 panic=10 systemd.condition_needs_update=0";
/// The kernel's words when it starts the initramfs.
const STARTS_INIT: &str = "Run /init as init process";
/// The last words of an initramfs: ours, and what the Containerfile beside this file has the other one say.
const ROOT_READY: [&str; 2] = [" is the root after ", "initramfs-tools: the root is ready"];

/// Ends well where podman answers whoever asks, and does not run.
const PODMAN: &str = "systemctl is-active podman.socket && ! systemctl is-active podman.service";

/// One boot, in seconds and MiB.
struct Boot {
    firmware: f64,
    loader: f64,
    kernel: f64,
    initramfs: f64,
    user_space: f64,
    memory: Memory,
}

/// The same tree on plain ext4.
struct Plain {
    kernel: PathBuf,
    initrd: PathBuf,
    disk: PathBuf,
}

/// Measures.
pub(super) fn measure(bench: &Bench) -> Result<Figures> {
    let node = Node::ready(bench)?;
    let plain = bench.progress.step("making the plain machine", || plain(bench, &node.releases[0].tag))?;
    let before = node.before(bench)?;
    let (mut ours, mut theirs, mut earlier) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..bench.pairs {
        let disk = node.disk(bench, &format!("boot-{pair}"))?;
        ours.push(bench.progress.step("booting the sealed image", || boot(node.machine(bench, &disk)))?);
        if let Some(base) = &before {
            let disk = node::overlay(bench, base, &format!("before-{pair}"))?;
            earlier.push(bench.progress.step("booting the image before", || boot(node.machine(bench, &disk)))?);
        }
        let disk = bench.work.path().join(format!("plain-{pair}.qcow2"));
        bench.tools.overlay(&plain.disk, Format::Raw, &disk)?;
        let machine = node::machine(bench, &node.registry)
            .kernel(&plain.kernel, Some(&plain.initrd), CMDLINE)
            .disk(Disk::qcow2(&disk));
        theirs.push(bench.progress.step("booting the plain machine", || boot(machine))?);
    }
    let mut figures = Figures::default();
    let of = |boots: &[Boot], what: fn(&Boot) -> f64| median(boots.iter().map(what));
    figures.add("firmware", of(&ours, |boot| boot.firmware), "s");
    figures.add("loader", of(&ours, |boot| boot.loader), "s");
    figures.add(name::KERNEL, of(&ours, |boot| boot.kernel), "s");
    figures.add(name::INITRAMFS, of(&ours, |boot| boot.initramfs), "s");
    figures.add(name::USER_SPACE, of(&ours, |boot| boot.user_space), "s");
    figures.add_budgeted(name::MEMORY, of(&ours, |boot| boot.memory.used), "MiB", MEMORY_MIB);
    figures.add("of all memory what is not MemAvailable", of(&ours, |boot| boot.memory.unavailable), "MiB");
    for (name, boots) in [("image before", &earlier), ("plain ext4, initramfs-tools", &theirs)] {
        if !boots.is_empty() {
            figures.add(format!("{name}: kernel"), of(boots, |boot| boot.kernel), "s");
            figures.add(format!("{name}: initramfs"), of(boots, |boot| boot.initramfs), "s");
            figures.add(format!("{name}: user space"), of(boots, |boot| boot.user_space), "s");
            figures.add(format!("{name}: memory in use after boot"), of(boots, |boot| boot.memory.used), "MiB");
        }
    }
    if !earlier.is_empty() {
        let ratio = median(ours.iter().zip(&earlier).map(|(ours, before)| ours.user_space / before.user_space));
        figures.add_budgeted(name::USER_SPACE_BEFORE, ratio, "x", USER_SPACE);
    }
    let ratio = |what: fn(&Boot) -> f64| median(ours.iter().zip(&theirs).map(|(ours, plain)| what(ours) / what(plain)));
    figures.add_budgeted("initramfs, in times of initramfs-tools'", ratio(|boot| boot.initramfs), "x", INITRAMFS_TIME);
    figures.add("user space, in times of the plain machine's", ratio(|boot| boot.user_space), "x");
    figures.add("memory, in times of the plain machine's", ratio(|boot| boot.memory.used), "x");
    let size = std::fs::metadata(&plain.initrd)?.len();
    figures.add("initramfs by initramfs-tools: size", mb(size), "MB");
    Ok(figures)
}

fn boot(machine: Machine) -> Result<Boot> {
    let mut running = machine.start()?;
    let mut guest = running.wait_for_shell(BOOT)?;
    guest.wait_booted(BOOT)?;
    // Idle: nobody has asked it for anything, and it would answer.
    guest.ask(PODMAN)?;
    let boot = phases(&mut guest)?;
    running.cut_power()?;
    Ok(boot)
}

/// Reads the phases off systemd's timestamps, in microseconds since the kernel's start or, before it, until then; and
/// the initramfs's off the kernel's log, which dates both its ends by one clock. What follows until systemd speaks, its
/// start, is user space for either.
fn phases(guest: &mut Guest) -> Result<Boot> {
    let said = guest.ask("systemctl show --property=FirmwareTimestampMonotonic,LoaderTimestampMonotonic,UserspaceTimestampMonotonic,FinishTimestampMonotonic")?;
    let stamp = |key: &str| -> Result<f64> {
        let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix("TimestampMonotonic="));
        Ok(line.with_context(|| format!("the timestamp {key}"))?.parse::<f64>()? / 1e6)
    };
    let log = guest.ask("dmesg")?;
    let when = |words: &[&str]| -> Result<f64> {
        let says = |line: &&str| words.iter().any(|words| line.contains(words));
        let line = log.lines().find(says).with_context(|| format!("'{words:?}' in the log"))?;
        let date = line.split(']').next().unwrap_or_default().trim_start_matches('[').trim();
        date.parse().with_context(|| format!("the date of: {line}"))
    };
    let (init, ready) = (when(&[STARTS_INIT])?, when(&ROOT_READY)?);
    Ok(Boot {
        firmware: (stamp("Firmware")? - stamp("Loader")?).max(0.0),
        loader: stamp("Loader")?,
        kernel: init,
        initramfs: ready - init,
        user_space: stamp("Finish")? - stamp("Userspace")?,
        memory: node::memory_in_use(guest)?,
    })
}

fn plain(bench: &Bench, tag: &str) -> Result<Plain> {
    let folder = bench.work.path().join("plain");
    std::fs::create_dir_all(&folder)?;
    let containerfile = folder.join("Containerfile");
    std::fs::write(&containerfile, CONTAINERFILE)?;
    let mut build = Run::new("podman").arg("build");
    if !Path::new(UNIFIED_CGROUPS).exists() {
        build = build.env("BUILDAH_ISOLATION", "chroot").arg("--network=host");
    }
    build
        .arg("-f")
        .arg(&containerfile)
        .args(["-t", PLAIN, "--build-arg", &format!("SOURCE_DATE_EPOCH={SOURCE_DATE_EPOCH}")])
        .arg(&folder)
        .limit(BUILD_LIMIT)
        .printed()
        .quiet()?;
    let (kernel, initrd, disk) = (folder.join("vmlinuz"), folder.join("initrd"), folder.join("disk.raw"));
    copy_out(PLAIN, "/plain/vmlinuz", &kernel)?;
    copy_out(PLAIN, "/plain/initrd", &initrd)?;
    ext4_of(&format!("localhost/{}:{tag}", releases::REPOSITORY), &disk)?;
    Ok(Plain { kernel, initrd, disk })
}

/// Makes a file system of an image's tree.
fn ext4_of(image: &str, disk: &Path) -> Result<()> {
    // Without root, podman's own user namespace is the only place where its mounts are seen.
    let script = "set -e; tree=$(podman image mount \"$1\"); \
                  mke2fs -q -t ext4 -d \"$tree\" \"$2\" 1G; podman image unmount \"$1\" >/dev/null";
    let shell = ["sh", "-c", script, "sh", image];
    let run = match rustix::process::geteuid().is_root() {
        true => Run::new(shell[0]).args(&shell[1..]),
        false => Run::new("podman").arg("unshare").args(shell),
    };
    run.arg(disk).quiet().with_context(|| format!("making an ext4 of {image}"))
}

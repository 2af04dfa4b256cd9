//! `pull-vm`: the same in a node with fs-verity required: a whole image onto an empty disk, and an upgrade, each
//! against `podman pull` of the same image there.

use anyhow::{Context, Result, ensure};
use rocketos_tests::{Disk, Format, Guest};

use crate::Bench;
use crate::cost::Cost;
use crate::figure::{Figures, PULL_CPU, UPGRADE_MIB};
use crate::node::{BOOT, Node, WORK};

/// Measures a command in a guest.
const SCRIPT: &str = include_str!("cost.sh");
const SECTOR: u64 = 512;

/// Measures.
pub(super) fn measure(bench: &Bench) -> Result<Figures> {
    let node = Node::ready(bench)?;
    let disk = node.disk(bench, "pull-vm")?;
    let target = bench.work.path().join("target.qcow2");
    bench.tools.run("qemu-img").args(["create", "-q", "-f", Format::Qcow2.name()]).arg(&target).arg("8G").quiet()?;
    let machine = node.machine(bench, &disk).disk(Disk::qcow2(&target).serial("target"));
    let mut running = machine.start()?;
    let mut guest = running.wait_for_shell(BOOT)?;
    guest.wait_booted(BOOT)?;
    guest.write_file("/run/cost.sh", SCRIPT.as_bytes())?;

    let whole = [
        (
            "install of a whole image",
            format!(
                "rocketctl install to-disk --source-imgref docker://{0} --target-imgref docker://{0} \
                 /dev/disk/by-id/virtio-target",
                node.reference(0)
            ),
        ),
        ("podman pull of it", format!("podman pull --quiet --tls-verify=false {}", node.reference(0))),
    ];
    let next = [
        ("upgrade", format!("rocketctl switch docker://{}", node.reference(1))),
        ("podman pull of the same release", format!("podman pull --quiet --tls-verify=false {}", node.reference(1))),
    ];
    let mut figures = Figures::default();
    for (commands, is_upgrade) in [(whole, false), (next, true)] {
        let mut costs = Vec::new();
        for (name, command) in &commands {
            costs.push(bench.progress.step(&format!("in the machine: {name}"), || cost_of(&mut guest, command))?);
        }
        for ((name, _), cost) in commands.iter().zip(&costs) {
            figures.add(format!("{name}: CPU"), cost.cpu(), "s");
            figures.add(format!("{name}: of it user"), cost.user, "s");
            figures.add(format!("{name}: of it system"), cost.system, "s");
            figures.add(format!("{name}: wall"), cost.wall, "s");
            figures.add(format!("{name}: written to disks"), cost.written as f64 / 1e6, "MB");
            match *name {
                "upgrade" => figures.add_budgeted(format!("{name}: peak memory"), cost.peak, "MiB", UPGRADE_MIB),
                _ => figures.add(format!("{name}: peak memory"), cost.peak, "MiB"),
            }
        }
        let what = if is_upgrade { "upgrade" } else { "install" };
        let ratio = costs[0].cpu() / costs[1].cpu();
        figures.add_budgeted(format!("{what}: CPU, in times of podman's"), ratio, "x", PULL_CPU);
    }
    // What was measured is on disks that end with the run.
    running.cut_power()?;
    Ok(figures)
}

fn cost_of(guest: &mut Guest, command: &str) -> Result<Cost> {
    let said = guest.check(&format!("bash /run/cost.sh {command}"), WORK)?;
    let line = said.lines().find_map(|line| line.strip_prefix("COST ")).with_context(|| format!("a cost in {said}"))?;
    let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().context("a number of a cost")?;
    let [status, wall, user, system, peak, sectors] = numbers[..] else {
        anyhow::bail!("a cost of six numbers, not {line}");
    };
    ensure!(status == 0.0, "in the guest, {command} failed:\n{said}");
    let written = sectors as u64 * SECTOR;
    Ok(Cost { user, system, wall: wall / 1e6, peak: peak / 1024.0, written })
}

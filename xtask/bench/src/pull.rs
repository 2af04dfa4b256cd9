//! `pull`: pulling and staging standalone, against `podman pull` and `skopeo copy` + `umoci unpack`, on this machine.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rocketos_deploy::{Activation, populate, stage};
use rocketos_model::ImageReference;
use rocketos_oci::{Reader, ReaderConfig};
use rocketos_store::Verity;
use rocketos_tests::Registry;
use rocketos_tests::command::Run;

use crate::cost::{Cost, measure as cost_of, optimised_self};
use crate::figure::{Figures, PULL_CPU, UPGRADE_MIB, median};
use crate::{Bench, VERSION};

const REPOSITORY: &str = "rocketos/standalone";

/// Measures.
pub(super) fn measure(bench: &Bench) -> Result<Figures> {
    let image = bench.variant("standalone", VERSION)?;
    let registry = bench.registry("pull-registry")?;
    bench.push(&image, &registry, REPOSITORY, VERSION)?;
    let myself = optimised_self()?;
    let conf = bench.work.path().join("registries.conf");
    std::fs::write(&conf, insecure(&registry))?;
    let env: &[(&str, &Path)] = &[("CONTAINERS_REGISTRIES_CONF", &conf)];
    let reference = format!("{}/{REPOSITORY}:{VERSION}", registry.on_host());

    // Nothing is removed before the end: ext4 is slow to hand out inodes in a folder from which many were freed
    // within the last minute, and whoever came next would pay.
    let mut rows = Vec::new();
    for pair in 0..bench.pairs {
        let folder = bench.work.path().join(format!("pull-{pair}"));
        std::fs::create_dir_all(&folder)?;
        let row = bench.progress.step(&format!("pair {} of {}", pair + 1, bench.pairs), || {
            let cost = |command: &Command| cost_of(&myself, command, env);
            let ours = cost(&ours(&myself, &reference, &folder.join("ours")))?;
            let podman = cost(&podman(&reference, &folder, &bench.short.path().join(pair.to_string())))?;
            let layout = format!("oci:{}:image", folder.join("layout").display());
            let copy = cost(&skopeo(bench, &reference, &layout))?;
            let unpack = cost(&umoci(bench, &folder.join("layout"), &folder.join("bundle")))?;
            Ok([ours, podman, copy.and(unpack)])
        })?;
        rows.push(row);
    }
    for pair in 0..bench.pairs {
        clean(&bench.work.path().join(format!("pull-{pair}")))?;
    }
    Ok(figures(&rows))
}

/// `registries.conf` that lets all three speak plain HTTP to a registry.
pub(super) fn insecure(registry: &Registry) -> String {
    format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.on_host())
}

fn figures(rows: &[[Cost; 3]]) -> Figures {
    let mut figures = Figures::default();
    let of = |which: usize, what: fn(&Cost) -> f64| median(rows.iter().map(|row| what(&row[which])));
    let ratio = |other: usize, what: fn(&Cost) -> f64| median(rows.iter().map(|row| what(&row[0]) / what(&row[other])));
    for (which, name) in ["pull + stage", "podman pull", "skopeo copy + umoci unpack"].into_iter().enumerate() {
        figures.add(format!("{name}: CPU"), of(which, Cost::cpu), "s");
        figures.add(format!("{name}: of it user"), of(which, |cost| cost.user), "s");
        figures.add(format!("{name}: of it system"), of(which, |cost| cost.system), "s");
        figures.add(format!("{name}: wall"), of(which, |cost| cost.wall), "s");
        figures.add(format!("{name}: written"), of(which, |cost| cost.written as f64 / 1e6), "MB");
        let peak = of(which, |cost| cost.peak);
        match which {
            0 => figures.add_budgeted(format!("{name}: peak memory"), peak, "MiB", UPGRADE_MIB),
            _ => figures.add(format!("{name}: peak memory"), peak, "MiB"),
        }
    }
    figures.add_budgeted("CPU, in times of podman's", ratio(1, Cost::cpu), "x", PULL_CPU);
    figures.add("CPU, in times of skopeo's and umoci's", ratio(2, Cost::cpu), "x");
    figures.add("wall, in times of podman's", ratio(1, |cost| cost.wall), "x");
    figures
}

/// The command that has this program pull into a folder.
pub(super) fn ours(myself: &Path, reference: &str, folder: &Path) -> Command {
    let mut command = Command::new(myself);
    command.args(["--pull", &format!("docker://{reference}"), "--"]).arg(folder);
    command
}

fn podman(reference: &str, folder: &Path, runroot: &Path) -> Command {
    let mut command = Command::new("podman");
    command.arg("--root").arg(folder.join("podman")).arg("--runroot").arg(runroot);
    command.args(["pull", "--quiet", "--tls-verify=false", reference]);
    command
}

fn skopeo(bench: &Bench, reference: &str, layout: &str) -> Command {
    let mut command = bench.tools.program("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
    command.args([&format!("docker://{reference}"), layout]);
    command
}

fn umoci(bench: &Bench, layout: &Path, bundle: &Path) -> Command {
    let mut command = bench.tools.program("umoci");
    command.arg("unpack");
    if !rustix::process::geteuid().is_root() {
        command.arg("--rootless");
    }
    command.arg("--image").arg(format!("{}:image", layout.display())).arg(bundle);
    command
}

/// Removes a folder in which podman may have made files of other users.
fn clean(folder: &Path) -> Result<()> {
    let rm: [&OsStr; 3] = ["rm".as_ref(), "-rf".as_ref(), folder.as_os_str()];
    match rustix::process::geteuid().is_root() {
        true => Run::new(rm[0]).args(&rm[1..]).quiet(),
        false => Run::new("podman").arg("unshare").args(rm).quiet(),
    }
}

/// Does what `rocketctl upgrade` does on a node, in a folder in place of the node's disk, with the same functions.
pub(super) fn pull_and_stage(reference: &str, folder: &Path) -> Result<()> {
    let (root, esp) = (folder.join("root"), folder.join("esp"));
    std::fs::create_dir_all(&root)?;
    std::fs::create_dir_all(&esp)?;
    let node = populate(&root, &esp, b"loader", Verity::Optional)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let reader = Reader::new(ReaderConfig::system())?;
    let reference: ImageReference = reference.parse()?;
    let resolved = runtime.block_on(reader.resolve(&reference))?;
    runtime.block_on(reader.fetch(&resolved, &node.store, &()))?;
    let image = node.store.commit_image(&resolved.manifest, &resolved.config)?;
    ensure!(image.manifest_digest == resolved.manifest_digest, "another manifest was stored than was read");
    stage(&node, &image, &reference.into(), Activation::Tried).context("staging")?;
    Ok(())
}

//! The way from the kernel to systemd, in order.

use std::{convert::Infallible, fs, time::Instant};

use anyhow::{Context, Result};
use rocketos_model::{Booted, cmdline};

use crate::{
    config::Config, console, deadline, deployment, disk, interfaces, machine_id, modules::Modules, root, sealed,
    selinux, switch, watchdog,
};

/// Does everything; when it returns, it failed.
pub fn boot() -> Result<Infallible> {
    let started = Instant::now();
    interfaces::mount()?;
    console::connect();
    deadline::start();

    // Policy comes from the command line alone.
    let cmdline = fs::read_to_string("/proc/cmdline").context("reading the kernel command line")?;
    let sealed = sealed::check(&cmdline)?;
    let digest = cmdline::digest(&cmdline).context("looking for the image to boot")?;

    // In the order in which they are waited for; what waits for hardware goes on until the disk is confirmed.
    let mut modules = Modules::read(&cmdline)?;
    modules.insert(&interfaces::MODULES);
    modules.insert_announced()?;
    modules.insert(&root::PARTITION_MODULES);
    modules.insert(&root::IMAGE_MODULES);
    modules.insert(&switch::MODULES);
    modules.wait_for(&interfaces::MODULES);
    let loader = interfaces::loader()?;
    deadline::doing("finding the disk");
    let disk = disk::find(&mut modules, loader.partition.as_deref())?;
    let found = Instant::now();
    let mut watched = watchdog::start();

    modules.wait_for(&root::PARTITION_MODULES);
    deadline::doing("mounting the root partition");
    let sysroot = root::mount_partition(&disk.root)?;
    modules.wait_for(&root::IMAGE_MODULES);
    deadline::doing("mounting the image");
    let new_root = root::mount_image(&sysroot, &digest)?;
    let deployment = deployment::booted(&sysroot, loader.entry.as_deref(), &digest)?;
    let config = Config::read(&new_root)?;
    // From here on what is made bears a label, and what the policy does not allow is refused where it is enforced.
    let labels = selinux::load(&new_root)?;
    labels.take_over_all(&root::image_directory(&new_root, "/run")?, &interfaces::run()?)?;

    deadline::doing("putting the root together");
    let new_root = root::overlay_root(new_root, config.root, labels)?;
    root::show_sysroot(&new_root, &sysroot)?;
    root::mount_etc(&new_root, &sysroot, config.etc, labels, deployment)?;
    root::mount_var(&new_root, &sysroot, config.var, labels, disk.var.as_ref())?;
    machine_id::hand_over(&sysroot, &new_root)?;
    root::ensure_settings(&sysroot, deployment);

    let on_trial = loader.counts || loader.entry.is_none();
    interfaces::tell(&Booted {
        composefs_digest: digest,
        deployment,
        entry: loader.entry,
        disk: disk.disk.path.display().to_string(),
        root: disk.root.path.display().to_string(),
        esp: disk.esp.path.display().to_string(),
    })?;
    interfaces::tell_unclean(&disk.esp.path.display().to_string())?;
    interfaces::tell_room(&disk)?;
    if on_trial {
        interfaces::tell_trial()?;
    }
    if let Some(allowed) = sealed {
        interfaces::tell_allowed(&allowed)?;
    }
    root::close_partition()?;
    // A second claimant may have come up while we were busy.
    disk::confirm(&mut modules, &disk, loader.partition.as_deref(), found)?;

    // Its driver may have come up since.
    watched = watched || watchdog::start();
    if !watched {
        console::info("there is no hardware watchdog: a hang will not be noticed by itself");
    }
    console::info(&format!(
        "image {:.16}… from {} is the root after {} ms",
        digest.to_hex(),
        disk.root.path.display(),
        started.elapsed().as_millis()
    ));
    switch::enter(&new_root)
}

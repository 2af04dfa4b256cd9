//! What containers of the host run on, mounted where everybody sees it: for the units that bring images, whose mounts are their own.

use std::{env, fs::File, io, os::fd::AsFd as _};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{args::is_ground, updater};

/// What the mounts of the whole node are called among the descriptors that systemd hands over (systemd.service(5), `OpenFile=`;
/// sd_listen_fds(3)).
const NAME: &str = "mounts";
/// The first of those descriptors.
const FIRST: usize = 3;

/// Mounts, or unmounts, for who asks on standard input.
pub fn mount_for_others() -> anyhow::Result<()> {
    updater::answer_own(|asks| rocketos_deploy::mount_for_others(asks, is_ground, enter))
}

/// Leaves the mounts of this unit for those of the node. An error where systemd has not handed them over, or the kernel refuses, as it does
/// where this process has threads.
fn enter() -> io::Result<()> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let at = names.split(':').position(|name| name == NAME);
    let at = at.ok_or_else(|| io::Error::other("systemd has handed no mounts over"))?;
    let mounts = File::open(format!("/proc/self/fd/{}", FIRST + at))?;
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(Into::into)
}

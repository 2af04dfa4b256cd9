//! What containers of the host run on, mounted where everybody sees it: for the units that bring images, whose mounts are their own.

use std::{
    env,
    fs::{self, File},
    io,
    os::fd::AsFd as _,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{args::is_ground, updater};

/// How many descriptors systemd hands over (sd_listen_fds(3)), those of `OpenFile=` among them (systemd.service(5)).
const HANDED_OVER: &str = "LISTEN_FDS";
/// The first of them.
const FIRST: usize = 3;
/// What a descriptor of a namespace of mounts leads to begins with (namespaces(7)).
const MOUNTS: &str = "mnt:[";

/// Mounts, or unmounts, for who asks on standard input.
pub fn mount_for_others() -> anyhow::Result<()> {
    updater::answer_own(|asks| rocketos_deploy::mount_for_others(asks, is_ground, enter))
}

/// Leaves the mounts of this unit for those of the node. An error where systemd has not handed them over, or the kernel refuses, as it does
/// where this process has threads.
///
/// They are known by what they are: where a connection is standard input, it has a name among the descriptors, and is none of them.
fn enter() -> io::Result<()> {
    let handed_over = env::var(HANDED_OVER).ok().and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
    let mut places = (FIRST..FIRST + handed_over).map(|at| format!("/proc/self/fd/{at}"));
    let leads = |place: &String| fs::read_link(place).is_ok_and(|to| to.to_string_lossy().starts_with(MOUNTS));
    let place = places.find(leads).ok_or_else(|| io::Error::other("systemd has handed no mounts over"))?;
    move_into_link_name_space(File::open(place)?.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(Into::into)
}

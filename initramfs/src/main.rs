//! The first program of a node: finds, verifies and mounts the root, then becomes systemd.
//!
//! Owns everything between the kernel and systemd, and the layout of the initramfs it lies in (README.md). What an image
//! is and whether it may be mounted is the store's to say; unlocking an encrypted /var is the host's. Nobody
//! imports it: the kernel starts it as `/init`.
//!
//! [`boot::boot`] reads from top to bottom what happens. Every failure, a panic too, prints one line and resets the
//! machine after a pause, so that the loader counts the try; so does a boot that comes to no end.

mod boot;
mod config;
mod console;
mod deadline;
mod deployment;
mod disk;
mod failure;
mod interfaces;
mod machine_id;
mod modules;
mod root;
mod sealed;
mod selinux;
mod switch;
mod watchdog;

use std::panic;

use failure::fail;

fn main() {
    panic::set_hook(Box::new(|info| fail(&format!("a defect in this program: {info}"))));
    if !rustix::process::getpid().is_init() {
        fail("this program is a machine's first; nothing else can use it");
    }
    match boot::boot() {
        Ok(never) => match never {},
        Err(error) => fail(&format!("{error:#}")),
    }
}

//! Machines: QEMU with firmware, disks, a network, a console that is logged, and a monitor.
//!
//! [`Machine`] describes one, [`Running`] is one; dropping it cuts its power.

mod accel;
mod arguments;
mod disk;
mod qmp;
mod running;

pub use accel::{Accel, probe as probe_acceleration};
pub use disk::{Bus, Disk, Format};
pub use qmp::Qmp;
pub use running::{Ended, Running};

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::{Credentials, Tools};

/// Memory of a machine that asks for none, in MiB.
const DEFAULT_MEMORY: u32 = 1024;
/// Processors of a machine.
const PROCESSORS: u32 = 2;
/// How long a machine may run in all when nothing else is said: then it is killed, whatever a test waits for.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(900);

/// What starts first.
#[derive(Debug, Clone)]
pub(crate) enum Start {
    /// OVMF, with the variables in a copy of its own; it boots the first disk.
    Firmware,
    /// A kernel, handed over by QEMU.
    Kernel { kernel: PathBuf, initrd: Option<PathBuf>, cmdline: String },
}

/// What the guest's wish to restart does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnReboot {
    /// It restarts.
    Restart,
    /// QEMU ends, and [`Ended::Reset`] says why.
    End,
}

/// The description of a machine.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(crate) tools: Tools,
    pub(crate) name: String,
    pub(crate) memory: u32,
    pub(crate) start: Start,
    pub(crate) variables: Option<PathBuf>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) network: bool,
    pub(crate) forwards: Vec<(u16, u16)>,
    pub(crate) credentials: Credentials,
    pub(crate) on_reboot: OnReboot,
    pub(crate) time_limit: Duration,
    pub(crate) extra: Vec<String>,
}

impl Machine {
    /// Describes a machine with firmware and a network, without disks; `name` is for logs and messages.
    pub fn new(tools: &Tools, name: &str) -> Self {
        Self {
            tools: tools.clone(),
            name: name.to_owned(),
            memory: DEFAULT_MEMORY,
            start: Start::Firmware,
            variables: None,
            disks: Vec::new(),
            network: true,
            forwards: Vec::new(),
            credentials: Credentials::new(),
            on_reboot: OnReboot::Restart,
            time_limit: DEFAULT_TIME_LIMIT,
            extra: Vec::new(),
        }
    }

    /// Sets its memory, in MiB.
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory = mib;
        self
    }

    /// Adds a disk; the first one is booted.
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// Starts a kernel directly, without firmware.
    pub fn kernel(mut self, kernel: &Path, initrd: Option<&Path>, cmdline: &str) -> Self {
        self.start = Start::Kernel {
            kernel: kernel.to_owned(),
            initrd: initrd.map(Path::to_owned),
            cmdline: cmdline.to_owned(),
        };
        self
    }

    /// Keeps the firmware's variables in this qcow2 file, made when missing, so that they outlive the machine.
    pub fn variables(mut self, file: &Path) -> Self {
        self.variables = Some(file.to_owned());
        self
    }

    /// Leaves the network card out.
    pub fn without_network(mut self) -> Self {
        self.network = false;
        self
    }

    /// Leads a port of the host's loopback to one of the guest's.
    pub fn forward(mut self, host: u16, guest: u16) -> Self {
        self.forwards.push((host, guest));
        self
    }

    /// Hands over credentials, adding to those already there.
    pub fn credentials(mut self, change: impl FnOnce(&mut Credentials)) -> Self {
        change(&mut self.credentials);
        self
    }

    /// Gives the guest a root shell on its second serial port, in any image that has `/bin/sh`.
    pub fn with_shell(self) -> Self {
        self.credentials(crate::guest::add_shell)
    }

    /// Puts a file into the guest early in its boot, in any image.
    pub fn file(self, path: &str, contents: &str) -> Self {
        self.credentials(|credentials| credentials.file(path, contents.as_bytes()))
    }

    /// Sets what the guest's wish to restart does.
    pub fn on_reboot(mut self, what: OnReboot) -> Self {
        self.on_reboot = what;
        self
    }

    /// Sets how long it may run in all.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Adds arguments of QEMU's, for what has no method here.
    pub fn arguments<I: IntoIterator<Item = S>, S: Into<String>>(mut self, args: I) -> Self {
        self.extra.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts it.
    pub fn start(self) -> Result<Running> {
        Running::start(self)
    }

    /// Runs it with its console on this terminal until it ends; Ctrl-A X cuts its power.
    pub fn run_on_terminal(self) -> Result<()> {
        running::on_terminal(self)
    }
}

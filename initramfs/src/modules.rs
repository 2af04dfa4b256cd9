//! Kernel modules: those the hardware asks for and those the root needs.
//!
//! Devices announce themselves by a `modalias` in sysfs; `modules.alias` says which modules want it. The files are
//! depmod's (modules.alias, modules.dep, modules.softdep), in the initramfs below `/lib/modules/<release>/`.

mod alias;
mod index;

use std::{
    collections::HashSet,
    ffi::CString,
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind,
        netlink::{KOBJECT_UEVENT, SocketAddrNetlink},
        recv, socket_with,
    },
    system::{finit_module, uname},
};

use crate::console;
use index::Index;

/// What the root is made of, whatever the hardware; any of them may be built into the kernel.
const ALWAYS: [&str; 4] = ["ext4", "erofs", "overlay", "efivarfs"];
/// Where every device is listed under the bus it sits on.
const BUSES: &str = "/sys/bus";
/// Where the processors say together what they can do.
const PROCESSORS: &str = "/sys/devices/system/cpu/modalias";
/// linux/module.h: the kernel unpacks the file itself.
const MODULE_INIT_COMPRESSED_FILE: i32 = 4;
/// The endings of files the kernel unpacks itself.
const COMPRESSED: [&str; 3] = ["xz", "zst", "gz"];
/// The multicast group of the kernel's own device events.
const KERNEL_EVENTS: u32 = 1;
/// Bytes of a device event; we only need to know that there was one.
const EVENT_BYTES: usize = 64;

/// The modules of this initramfs and which of them are inserted.
pub struct Modules {
    directory: PathBuf,
    index: Index,
    cmdline: String,
    answered: HashSet<String>,
    inserted: HashSet<String>,
    events: Option<OwnedFd>,
}

/// A socket on which the kernel tells of new devices; without one we look again now and then.
fn events() -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT)).ok()?;
    bind(&socket, &SocketAddrNetlink::new(0, KERNEL_EVENTS)).ok()?;
    Some(socket)
}

impl Modules {
    /// Reads what the initramfs has for the running kernel; a kernel that needs no module has nothing.
    pub fn read(cmdline: &str) -> Result<Self> {
        let release = uname().release().to_string_lossy().into_owned();
        let directory = Path::new("/lib/modules").join(release);
        let read = |name: &str| match fs::read_to_string(directory.join(name)) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| format!("reading {}/{name}", directory.display())),
        };
        let index = Index::parse(&read("modules.dep")?, &read("modules.alias")?, &read("modules.softdep")?);
        Ok(Self {
            directory,
            index,
            cmdline: cmdline.to_owned(),
            answered: HashSet::new(),
            inserted: HashSet::new(),
            events: events(),
        })
    }

    /// Inserts what the root is made of.
    pub fn insert_always(&mut self) {
        for name in ALWAYS {
            self.insert(name);
        }
    }

    /// Inserts what the devices there are ask for, until they ask for nothing new.
    pub fn insert_announced(&mut self) -> Result<()> {
        loop {
            let mut news = false;
            for modalias in announced().context("looking at the devices")? {
                if self.answered.insert(modalias.clone()) {
                    news = true;
                    for name in self.index.wanted_by(&modalias) {
                        self.insert(&name);
                    }
                }
            }
            if !news {
                return Ok(());
            }
        }
    }

    /// Inserts a module and what it depends on, each once.
    ///
    /// A module that cannot be inserted is noted and passed over: whether it mattered shows when the root is mounted.
    fn insert(&mut self, name: &str) {
        for module in self.index.order(name) {
            if !self.inserted.insert(module.name.clone()) {
                continue;
            }
            let parameters = parameters(&self.cmdline, &module.name);
            match insert_file(&self.directory.join(&module.path), &parameters) {
                Ok(()) => {}
                // The driver looked and its hardware is not there, as a processor without the instruction.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => {}
                Err(error) => console::warning(&format!("inserting {}: {error}", module.path)),
            }
        }
    }

    /// Waits for the kernel to tell of a device; false where it cannot tell us.
    pub fn wait_for_devices(&self, pause: Duration) -> bool {
        let Some(events) = &self.events else {
            return false;
        };
        let Ok(pause) = Timespec::try_from(pause) else {
            return false;
        };
        if poll(&mut [PollFd::new(events, PollFlags::IN)], Some(&pause)).is_err() {
            return false;
        }
        let mut event = [0; EVENT_BYTES];
        loop {
            match recv(events, &mut event, RecvFlags::empty()) {
                // The kernel had more to tell than room for it: news all the same.
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }
}

/// Every `modalias` of a device that is there.
fn announced() -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    // A device without one, or one that vanished, asks for nothing.
    let mut ask = |path: &Path| {
        if let Ok(text) = fs::read_to_string(path) {
            found.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
        }
    };
    ask(Path::new(PROCESSORS));
    for bus in fs::read_dir(BUSES)? {
        let devices = match fs::read_dir(bus?.path().join("devices")) {
            Ok(devices) => devices,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for device in devices {
            ask(&device?.path().join("modalias"));
        }
    }
    Ok(found)
}

/// What the kernel command line sets for a module (`name.key=value`), as the kernel does for what is built in.
fn parameters(cmdline: &str, name: &str) -> String {
    rocketos_model::cmdline::split(cmdline)
        .filter_map(|word| {
            let (module, parameter) = word.split_once('.')?;
            (!module.contains('=') && index::normal(module) == name).then_some(parameter)
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn insert_file(path: &Path, parameters: &str) -> io::Result<()> {
    let compressed = path.extension().is_some_and(|ending| COMPRESSED.iter().any(|known| ending == *known));
    let flags = if compressed { MODULE_INIT_COMPRESSED_FILE } else { 0 };
    let parameters = CString::new(parameters)?;
    match finit_module(File::open(path)?, &parameters, flags) {
        // Inserted already, or built in.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_modules_parameters_from_the_command_line() {
        let cmdline = "quiet nvme-core.io_timeout=5 nvme_core.x=\"a b\" root=a.b nvme.y=1";
        assert_eq!(parameters(cmdline, "nvme_core"), "io_timeout=5 x=\"a b\"");
        assert_eq!(parameters(cmdline, "ext4"), "");
    }
}

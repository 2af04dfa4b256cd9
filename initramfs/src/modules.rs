//! Kernel modules: those the hardware asks for and those the root needs.
//!
//! Devices announce themselves by a `modalias` in sysfs; `modules.alias` says which modules want it. The files are
//! depmod's (modules.alias, modules.dep, modules.softdep), in the initramfs below `/lib/modules/<release>/`.
//!
//! Checking a module's signature and probing what it drives takes long, so several are inserted at once.

mod alias;
mod index;

use std::{
    collections::{HashSet, VecDeque},
    ffi::CString,
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError},
    thread,
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
use index::{Index, Module};

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
/// Modules inserted at once: more than processors, because a driver that waits for its hardware needs none.
const AT_ONCE: usize = 4;
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

    /// Inserts what the root is made of, and what the devices there are ask for.
    pub fn insert_first(&mut self) -> Result<()> {
        // Hardware first: its drivers wait for it.
        let announced = self.asked_for()?;
        self.insert(announced.into_iter().chain(ALWAYS.map(str::to_owned)));
        Ok(())
    }

    /// Inserts what the devices there are ask for, until they ask for nothing new.
    pub fn insert_announced(&mut self) -> Result<()> {
        loop {
            let names = self.asked_for()?;
            if names.is_empty() {
                return Ok(());
            }
            self.insert(names);
        }
    }

    /// What devices ask for that did not ask before.
    fn asked_for(&mut self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for modalias in announced().context("looking at the devices")? {
            if self.answered.insert(modalias.clone()) {
                names.extend(self.index.wanted_by(&modalias));
            }
        }
        Ok(names)
    }

    /// Inserts modules and what they depend on, each once.
    ///
    /// A module that cannot be inserted is noted and passed over: whether it mattered shows when the root is mounted.
    fn insert(&mut self, names: impl IntoIterator<Item = String>) {
        let chains: VecDeque<_> = names.into_iter().map(|name| self.index.order(&name)).collect();
        let workers = chains.len().min(AT_ONCE);
        let work = Work { chains: Mutex::new(chains), state: Mutex::default(), changed: Condvar::new() };
        locked(&work.state).done = std::mem::take(&mut self.inserted);
        let insert = |module: &Module| {
            let parameters = parameters(&self.cmdline, &module.name);
            match insert_file(&self.directory.join(&module.path), &parameters) {
                Ok(()) => {}
                // The driver looked and its hardware is not there, as a processor without the instruction.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => {}
                Err(error) => console::warning(&format!("inserting {}: {error}", module.path)),
            }
        };
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| work.run(&insert));
            }
        });
        self.inserted = std::mem::take(&mut locked(&work.state).done);
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

/// Chains of modules to insert, each in its order, shared by several threads.
struct Work {
    chains: Mutex<VecDeque<Vec<Module>>>,
    state: Mutex<State>,
    changed: Condvar,
}

/// Names of modules.
#[derive(Default)]
struct State {
    /// Being inserted by some thread.
    busy: HashSet<String>,
    /// Inserted, or tried.
    done: HashSet<String>,
}

/// A thread that panicked has reset the machine; until then what it held is as good as ever.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work {
    /// Inserts chains until none is left.
    fn run(&self, insert: &impl Fn(&Module)) {
        loop {
            let Some(chain) = locked(&self.chains).pop_front() else {
                return;
            };
            for module in chain {
                if self.claim(&module.name) {
                    insert(&module);
                    let mut state = locked(&self.state);
                    state.busy.remove(&module.name);
                    state.done.insert(module.name);
                    drop(state);
                    self.changed.notify_all();
                }
            }
        }
    }

    /// True where the module is this thread's to insert; false once it is inserted, by whomever.
    ///
    /// Who is busy waits for nobody, so this ends.
    fn claim(&self, name: &str) -> bool {
        let mut state = locked(&self.state);
        while state.busy.contains(name) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.done.contains(name) {
            return false;
        }
        state.busy.insert(name.to_owned())
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
    fn inserts_each_module_once_and_after_what_it_needs() {
        let module = |name: &str| Module { name: name.to_owned(), path: String::new(), needs: Vec::new() };
        let chains = ["abc", "bc", "ad", "b", "abcde", "xbc"];
        let work = Work {
            chains: Mutex::new(chains.map(|chain| chain.chars().map(|c| module(&c.to_string())).collect()).into()),
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        let order = Mutex::new(Vec::new());
        let insert = |module: &Module| {
            thread::sleep(Duration::from_millis(2));
            locked(&order).push(module.name.clone());
        };
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| work.run(&insert));
            }
        });
        let order = order.into_inner().unwrap().concat();
        assert_eq!(order.len(), 6, "{order}");
        // What every chain with c, d or e has before it.
        for [first, then] in [["b", "c"], ["a", "d"], ["d", "e"]] {
            assert!(order.find(first) < order.find(then), "{first} after {then} in {order}");
        }
    }

    #[test]
    fn takes_a_modules_parameters_from_the_command_line() {
        let cmdline = "quiet nvme-core.io_timeout=5 nvme_core.x=\"a b\" root=a.b nvme.y=1";
        assert_eq!(parameters(cmdline, "nvme_core"), "io_timeout=5 x=\"a b\"");
        assert_eq!(parameters(cmdline, "ext4"), "");
    }
}

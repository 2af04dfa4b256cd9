//! Kernel modules: those the hardware asks for and those the root needs.
//!
//! Devices announce themselves by a `modalias` in sysfs; `modules.alias` says which modules want it. The files are
//! depmod's (modules.alias, modules.dep, modules.softdep), in the initramfs below `/lib/modules/<release>/`.
//!
//! Modules are inserted in the background: who needs one [waits for it](Modules::wait_for).

mod alias;
mod events;
mod index;
mod work;

use std::{
    collections::HashSet,
    ffi::CString,
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    system::{finit_module, uname},
};

use crate::console;
use events::Events;
use index::{Index, Module};
use work::{Chain, Work};

/// Where every device is listed under the bus it sits on.
const BUSES: &str = "/sys/bus";
/// Where the processors say together what they can do.
const PROCESSORS: &str = "/sys/devices/system/cpu/modalias";
/// linux/module.h: the kernel unpacks the file itself.
const MODULE_INIT_COMPRESSED_FILE: i32 = 4;
/// A parameter of any module (kernel-parameters.txt): inserting one otherwise waits until all drivers, its own and others,
/// have looked at their hardware.
const DO_NOT_WAIT: &str = " async_probe";
/// The endings of files the kernel unpacks itself.
const COMPRESSED: [&str; 3] = ["xz", "zst", "gz"];

/// The modules of this initramfs and which of them are inserted.
pub struct Modules {
    index: Index,
    answered: HashSet<String>,
    events: Events,
    work: Arc<Work>,
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
        let cmdline = cmdline.to_owned();
        let insert = move |module: &Module, asked_for: bool| {
            let mut parameters = parameters(&cmdline, &module.name);
            if !asked_for {
                parameters.push_str(DO_NOT_WAIT);
            }
            match insert_file(&directory.join(&module.path), &parameters) {
                Ok(()) => {}
                // The driver looked and its hardware is not there, as a processor without the instruction.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => {}
                // Whether it mattered shows when the root is mounted.
                Err(error) => console::warning(&format!("inserting {}: {error}", module.path)),
            }
        };
        Ok(Self {
            index,
            answered: HashSet::new(),
            events: Events::listen(),
            work: Work::start(insert).context("starting threads")?,
        })
    }

    /// Has modules inserted, after what they depend on, by name or alias; any of them may be built into the kernel.
    pub fn insert(&self, names: &[&str]) {
        self.work.add(names.iter().map(|name| Chain { modules: self.index.order(name), asked_for: false }));
    }

    /// Waits for modules that were to be inserted.
    pub fn wait_for(&self, names: &[&str]) {
        for module in names.iter().flat_map(|name| self.index.order(name)) {
            self.work.wait_for(&module.name);
        }
    }

    /// Has inserted what the devices that are there ask for.
    pub fn insert_announced(&mut self) -> Result<()> {
        let announced = announced().context("looking at the devices")?;
        self.answer(announced);
        Ok(())
    }

    /// Has inserted what devices ask for that did not ask before; false where none did.
    fn answer(&mut self, asked: Vec<String>) -> bool {
        let mut names = Vec::new();
        for modalias in asked {
            if !self.answered.contains(&modalias) {
                names.extend(self.index.wanted_by(&modalias));
                self.answered.insert(modalias);
            }
        }
        self.work.add(names.iter().map(|name| Chain { modules: self.index.order(name), asked_for: true }));
        !names.is_empty()
    }

    /// Goes on inserting what devices ask for until there is another disk, at most until `deadline`.
    pub fn wait_for_disk(&mut self, deadline: Instant) -> Result<()> {
        loop {
            let news = self.events.read();
            self.answer(news.asked);
            let late = Instant::now() >= deadline;
            if news.lost || late {
                self.insert_announced()?;
            }
            if news.disk || late {
                return Ok(());
            }
            self.events.wait(deadline);
        }
    }

    /// Inserts what devices ask for until they ask for nothing new and every driver has looked at its hardware.
    pub fn finish(&mut self) -> Result<()> {
        loop {
            self.work.finish();
            let mut news = self.events.read();
            if news.lost {
                news.asked = announced().context("looking at the devices")?;
            }
            if !self.answer(news.asked) {
                return Ok(());
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

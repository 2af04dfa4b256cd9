//! A machine's disks.

use std::path::{Path, PathBuf};

/// How a disk's bytes lie in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As on the disk.
    Raw,
    /// QEMU's format: grows as it is written, can lie over another file.
    Qcow2,
}

impl Format {
    /// Returns QEMU's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }

    /// Tells a file's format from its first bytes.
    pub fn of(file: &Path) -> std::io::Result<Self> {
        use std::io::Read;
        let mut magic = [0; 4];
        let mut reader = std::fs::File::open(file)?;
        match reader.read_exact(&mut magic) {
            Ok(()) if &magic == b"QFI\xfb" => Ok(Self::Qcow2),
            Ok(()) => Ok(Self::Raw),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(Self::Raw),
            Err(error) => Err(error),
        }
    }
}

/// What a disk is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk.
    Virtio,
    /// NVMe.
    Nvme,
    /// SATA on AHCI.
    Ahci,
    /// virtio-scsi.
    Scsi,
    /// USB storage.
    Usb,
}

/// One disk.
#[derive(Debug, Clone)]
pub struct Disk {
    pub(crate) file: PathBuf,
    pub(crate) format: Format,
    pub(crate) bus: Bus,
    pub(crate) serial: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) record: Option<PathBuf>,
}

impl Disk {
    /// A raw file, on virtio.
    pub fn raw(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), format: Format::Raw, bus: Bus::Virtio, serial: None, read_only: false, record: None }
    }

    /// A qcow2 file, on virtio.
    pub fn qcow2(file: impl Into<PathBuf>) -> Self {
        Self { format: Format::Qcow2, ..Self::raw(file) }
    }

    /// Sets the bus.
    pub fn bus(mut self, bus: Bus) -> Self {
        self.bus = bus;
        self
    }

    /// Sets the serial number; on virtio the guest sees `/dev/disk/by-id/virtio-<serial>`.
    pub fn serial(mut self, serial: &str) -> Self {
        self.serial = Some(serial.to_owned());
        self
    }

    /// Refuses writes.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Records every request, in the order in which they were done, in `log`: a raw file that exists and is empty.
    pub fn recorded(mut self, log: &Path) -> Self {
        self.record = Some(log.to_owned());
        self
    }

    /// QEMU's arguments for what a device reads and writes, and its name for it.
    fn drive(&self, index: usize) -> (Vec<String>, String) {
        let name = |file: &Path| file.display().to_string().replace(',', ",,");
        // `unsafe` leaves out the host's fsync: a killed QEMU loses nothing the guest has flushed, since the host's
        // page cache survives it, and only the host's own power cut would.
        let Some(log) = &self.record else {
            let drive = format!(
                "if=none,id=drive{index},file={},format={},cache=unsafe,discard=unmap,readonly={}",
                name(&self.file),
                self.format.name(),
                if self.read_only { "on" } else { "off" }
            );
            return (vec!["-drive".to_owned(), drive], format!("drive{index}"));
        };
        let nodes = [
            format!("driver=file,node-name=file{index},filename={},discard=unmap,cache.no-flush=on", name(&self.file)),
            format!(
                "driver={},node-name=data{index},file=file{index},discard=unmap,cache.no-flush=on",
                self.format.name()
            ),
            format!("driver=file,node-name=log{index},filename={},cache.no-flush=on", name(log)),
            // It must see the guest's flushes, so only the nodes below it leave out the host's.
            format!("driver=blklogwrites,node-name=recorded{index},file=data{index},log=log{index},discard=unmap"),
        ];
        let arguments = nodes.into_iter().flat_map(|node| ["-blockdev".to_owned(), node]).collect();
        (arguments, format!("recorded{index}"))
    }

    /// Returns QEMU's arguments for the disk in place `index`.
    pub(crate) fn arguments(&self, index: usize) -> Vec<String> {
        let (mut args, drive) = self.drive(index);
        let serial = self.serial.as_ref().map_or_else(String::new, |serial| format!(",serial={serial}"));
        // From one on: a kernel handed over by QEMU takes place zero.
        let tail = format!("drive={drive},bootindex={}{serial}", index + 1);
        let mut device = |text: String| args.extend(["-device".to_owned(), text]);
        match self.bus {
            Bus::Virtio => device(format!("virtio-blk-pci,{tail}")),
            // NVMe requires a serial number.
            Bus::Nvme if self.serial.is_none() => device(format!("nvme,serial=disk{index},{tail}")),
            Bus::Nvme => device(format!("nvme,{tail}")),
            Bus::Ahci => device(format!("ide-hd,bus=ide.{index},{tail}")),
            Bus::Scsi => {
                device(format!("virtio-scsi-pci,id=scsi{index}"));
                device(format!("scsi-hd,bus=scsi{index}.0,{tail}"));
            }
            Bus::Usb => {
                device(format!("qemu-xhci,id=usb{index}"));
                device(format!("usb-storage,bus=usb{index}.0,{tail}"));
            }
        }
        args
    }
}

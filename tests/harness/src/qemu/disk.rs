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
}

impl Disk {
    /// A raw file, on virtio.
    pub fn raw(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), format: Format::Raw, bus: Bus::Virtio, serial: None, read_only: false }
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

    /// Returns QEMU's arguments for the disk in place `index`.
    pub(crate) fn arguments(&self, index: usize) -> Vec<String> {
        // `unsafe` leaves out the host's fsync: a killed QEMU loses nothing the guest has flushed, since the host's
        // page cache survives it, and only the host's own power cut would.
        let drive = format!(
            "if=none,id=drive{index},file={},format={},cache=unsafe,discard=unmap,readonly={}",
            self.file.display().to_string().replace(',', ",,"),
            self.format.name(),
            if self.read_only { "on" } else { "off" }
        );
        let serial = self.serial.as_ref().map_or_else(String::new, |serial| format!(",serial={serial}"));
        // From one on: a kernel handed over by QEMU takes place zero.
        let tail = format!("drive=drive{index},bootindex={}{serial}", index + 1);
        let mut args = vec!["-drive".to_owned(), drive];
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

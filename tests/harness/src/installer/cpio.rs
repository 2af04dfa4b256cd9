//! The archive format of an initramfs (`newc`; Linux, Documentation/driver-api/early-userspace/buffer-format.rst).

use std::io::{Read, Write};

use anyhow::{Result, bail};

use super::root::Node;

const MAGIC: &str = "070701";
const TRAILER: &[u8] = b"TRAILER!!!";
/// Headers and contents begin at multiples of this.
const ALIGNMENT: u64 = 4;

/// Writes an initramfs.
pub(super) struct Writer<W> {
    out: W,
    at: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, at: 0 }
    }

    /// Writes one name of a node, with `length` bytes of content.
    pub(super) fn entry(
        &mut self,
        path: &[u8],
        node: &Node,
        inode: u32,
        links: u32,
        mut content: impl Read,
        length: u64,
    ) -> Result<()> {
        let (major, minor) = node.device;
        self.header(path, &[inode, node.mode, node.uid, node.gid, links, node.mtime], length, (major, minor))?;
        let copied = std::io::copy(&mut content, &mut self.out)?;
        if copied != length {
            bail!("expected {length} bytes of {}, found {copied}", String::from_utf8_lossy(path));
        }
        self.at += length;
        self.align()
    }

    /// Writes the end.
    pub(super) fn finish(mut self) -> Result<W> {
        self.header(TRAILER, &[0, 0, 0, 0, 1, 0], 0, (0, 0))?;
        Ok(self.out)
    }

    fn header(&mut self, path: &[u8], first: &[u32; 6], length: u64, device: (u32, u32)) -> Result<()> {
        let Ok(length) = u32::try_from(length) else {
            bail!("{} is too large for an initramfs", String::from_utf8_lossy(path));
        };
        let mut header = MAGIC.to_owned();
        // After the first six: size, the device it lies on (two), the device it is (two), name's length, checksum.
        let name_length = u32::try_from(path.len() + 1)?;
        for field in first.iter().chain(&[length, 0, 0, device.0, device.1, name_length, 0]) {
            header.push_str(&format!("{field:08x}"));
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(path)?;
        self.out.write_all(&[0])?;
        self.at += header.len() as u64 + u64::from(name_length);
        self.align()
    }

    fn align(&mut self) -> Result<()> {
        let padding = self.at.next_multiple_of(ALIGNMENT) - self.at;
        self.out.write_all(&[0; ALIGNMENT as usize][..usize::try_from(padding)?])?;
        self.at += padding;
        Ok(())
    }
}

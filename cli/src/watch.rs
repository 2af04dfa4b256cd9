//! Watching the kernel for words of damage: fs-verity gives EIO to whoever reads, and says so in its log alone.
//!
//! What it says starts a scrub of everything, at once. A scrub that runs reads what is damaged too: its lock tells, and what
//! the kernel says meanwhile is passed over.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rocketos_deploy::mended_in_use;
use rocketos_model::{Booted, layout};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::{adapters::systemctl, journal};

/// The kernel's log, a record a read (Documentation/ABI/testing/dev-kmsg).
const KMSG: &str = "/dev/kmsg";
/// Longest record the kernel gives out.
const RECORD: usize = 8192;
/// Where the last record that started a scrub is noted, for a watcher that is started again.
const SEEN: &str = "/run/rocketos/watch-verity";
/// The unit that scrubs.
const UNIT: &str = "rocketos-scrub.service";
/// Least time between two scrubs that were started here.
const HOLD_OFF: Duration = Duration::from_secs(3600);
/// The same where something was mended under what runs: it goes on giving errors until the next boot.
const HOLD_OFF_MENDED: Duration = Duration::from_secs(24 * 3600);

/// A record: `<priority>,<sequence>,<microseconds>,<flags>[,…];<message>`, further lines begin with a space.
fn parse(record: &str) -> Option<(u64, &str)> {
    let (head, rest) = record.split_once(';')?;
    let sequence = head.split(',').nth(1)?.parse().ok()?;
    Some((sequence, rest.lines().next().unwrap_or_default()))
}

/// True where the kernel says that something on the root partition is not what it was.
///
/// fs/verity/verify.c and overlayfs/util.c of Linux 6.12, block/blk-core.c, fs/ext4/super.c.
fn is_of_damage(message: &str, root: &str, disk: &str) -> bool {
    let after = |prefix: &str| message.split_once(prefix).map(|(_, rest)| rest);
    let begins = |rest: Option<&str>, name: &str| {
        rest.and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
    };
    // fs-verity (vda2, inode 12): FILE CORRUPTED! …
    if begins(after("fs-verity ("), root) {
        return message.contains("FILE CORRUPTED") || message.contains("Error");
    }
    // overlayfs: lower file '…' has the wrong fs-verity digest; … has no fs-verity digest
    if after("overlayfs: lower file").is_some() {
        return message.contains("fs-verity digest");
    }
    // I/O error, dev vda, sector 8 op 0x0:(READ) …; critical medium error, dev vda, …
    if message.contains("error, dev ") {
        return begins(after("error, dev "), disk) && message.contains("READ");
    }
    // Buffer I/O error on dev vda2, logical block …; EXT4-fs error (device vda2): …
    begins(after("Buffer I/O error on dev "), root) || begins(after("EXT4-fs error (device "), root)
}

/// Watches until it is told to end.
pub fn run() -> anyhow::Result<()> {
    let text = fs::read_to_string(layout::node::BOOTED).with_context(|| format!("reading {}", layout::node::BOOTED))?;
    let booted = Booted::from_toml(&text).with_context(|| format!("reading {}", layout::node::BOOTED))?;
    let name = |device: &str| device.trim_start_matches("/dev/").to_owned();
    let (root, disk) = (name(&booted.root), name(&booted.disk));
    let seen: Option<u64> = fs::read_to_string(SEEN).ok().and_then(|text| text.trim().parse().ok());
    let mut log = File::open(KMSG).with_context(|| format!("opening {KMSG}"))?;
    // From the beginning of this boot: what was read before this ran counts as well.
    log.seek(SeekFrom::Start(0)).with_context(|| format!("reading {KMSG}"))?;
    let mut buffer = vec![0; RECORD];
    let mut last: Option<Instant> = None;
    loop {
        let read = match log.read(&mut buffer) {
            Ok(read) => read,
            // Records were overwritten before they were read; the next read gives the oldest that is there.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PIPE) => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).with_context(|| format!("reading {KMSG}")),
        };
        let record = String::from_utf8_lossy(&buffer[..read]);
        let Some((sequence, message)) = parse(&record) else { continue };
        if seen.is_some_and(|seen| sequence <= seen) || !is_of_damage(message, &root, &disk) {
            continue;
        }
        let hold_off = if mended_in_use().is_ok_and(|mended| mended.is_empty()) { HOLD_OFF } else { HOLD_OFF_MENDED };
        if last.is_some_and(|last| last.elapsed() < hold_off) || somebody_scrubs() {
            continue;
        }
        last = Some(Instant::now());
        start(sequence, message)?;
    }
}

/// True while somebody holds the scrub's lock.
fn somebody_scrubs() -> bool {
    let path = Path::new(layout::node::SYSROOT).join(layout::root::SCRUB_LOCK);
    let locked = |file: File| matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK));
    OpenOptions::new().read(true).open(path).is_ok_and(locked)
}

fn start(sequence: u64, message: &str) -> anyhow::Result<()> {
    println!("The kernel says: {message}");
    journal::say(journal::KERNEL_SAW_DAMAGE, &format!("the kernel says: {message}"), &[("ROCKETOS_KERNEL", message)]);
    // A scrub that was cut off may be past what was just found.
    fs::write(layout::node::SCRUB_ANEW, "").with_context(|| format!("writing {}", layout::node::SCRUB_ANEW))?;
    // Where not even that program runs, this one fails until the machine is reset.
    systemctl::start(UNIT)?;
    fs::write(SEEN, sequence.to_string()).with_context(|| format!("writing {SEEN}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_records() {
        let record = "3,1234,5678901,-;fs-verity (vda2, inode 5): FILE CORRUPTED!\n SUBSYSTEM=block\n DEVICE=b8:0\n";
        assert_eq!(parse(record), Some((1234, "fs-verity (vda2, inode 5): FILE CORRUPTED!")));
        assert_eq!(parse("junk"), None);
    }

    #[test]
    fn tells_damage_of_the_root_partition_from_all_else() {
        for (message, expected) in [
            (
                "fs-verity (vda2, inode 12): FILE CORRUPTED! pos=0, level=-1, want_hash=sha512:ab, real_hash=sha512:cd",
                true,
            ),
            ("fs-verity (vda2, inode 12): Error -5 reading Merkle tree page", true),
            ("fs-verity: sha512 using implementation \"sha512-avx2\"", false),
            ("fs-verity (vda3, inode 12): FILE CORRUPTED! pos=0", false),
            ("fs-verity (vda21, inode 12): FILE CORRUPTED! pos=0", false),
            ("overlayfs: lower file 'ab' has the wrong fs-verity digest", true),
            ("overlayfs: lower file 'ab' has no fs-verity digest", true),
            ("overlayfs: upper fs does not support tmpfile.", false),
            ("I/O error, dev vda, sector 2048 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2", true),
            ("blk_update_request: critical medium error, dev vda, sector 5 op 0x0:(READ) flags 0x0", true),
            ("I/O error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x0", false),
            ("I/O error, dev vdb, sector 2048 op 0x0:(READ) flags 0x0", false),
            ("Buffer I/O error on dev vda2, logical block 7, async page read", true),
            ("EXT4-fs error (device vda2): ext4_lookup:1785: inode #2: comm ls: iget: checksum invalid", true),
            ("EXT4-fs error (device vda3): ext4_lookup", false),
            ("EXT4-fs (vda2): mounted filesystem", false),
        ] {
            assert_eq!(is_of_damage(message, "vda2", "vda"), expected, "{message}");
        }
    }
}

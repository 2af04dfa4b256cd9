//! Reading the ESP as firmware and systemd-boot do: FAT32 with long names (Microsoft, "FAT32 File System Specification", 1.03).
//!
//! Firmware looks at the first table alone, takes a long name only when its pieces fit the short one, and knows names in
//! any case of letters.

use std::hash::Hasher as _;

use crate::bytes::{le16, le32};
use crate::disk::{Mix, View};
use crate::fault::Fault;

/// Bytes of a directory's entry.
const ENTRY: usize = 32;
/// Most clusters of a directory, and so most steps along a chain that has no size.
const DIRECTORY_CLUSTERS: usize = 4096;
/// Most bytes of a file that is read.
const FILE_BYTES: u64 = 1 << 29;
/// Fewest clusters of FAT32.
const FAT32_CLUSTERS: u64 = 65_525;
/// A cluster number's bits that count.
const CLUSTER: u32 = 0x0fff_ffff;
/// Where the boot sector has its state, and the bit that a system sets while it has the file system mounted.
const STATE: u64 = 0x41;
const MOUNTED: u8 = 1;
/// Numbers from here on end a chain.
const END: u32 = 0x0fff_fff8;
const FREE: u8 = 0xe5;
const LONG: u8 = 0x0f;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
/// Marks the piece of a long name that stands first on the disk.
const LAST_PIECE: u8 = 0x40;
/// Most pieces of a long name.
const PIECES: usize = 20;

/// A FAT32 file system.
#[derive(Debug)]
pub struct Fat<'a> {
    view: View<'a>,
    start: u64,
    table: u64,
    data: u64,
    clusters: u64,
    cluster_bytes: u64,
    root: u32,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The long one, else the short one.
    pub name: String,
    /// True for a directory.
    pub folder: bool,
    /// Bytes.
    pub size: u64,
    first: u32,
}

impl<'a> Fat<'a> {
    /// Opens what begins at byte `start` and has `length` bytes.
    ///
    /// # Errors
    /// When firmware would not know it.
    pub fn open(view: View<'a>, start: u64, length: u64) -> Result<Self, Fault> {
        let mut top = [0; 512];
        view.read(start, &mut top)?;
        let sector = u64::from(le16(&top, 11));
        let (each, reserved, tables) = (u64::from(top[13]), u64::from(le16(&top, 14)), u64::from(top[16]));
        let (table_sectors, sectors) = (u64::from(le32(&top, 36)), u64::from(le32(&top, 32)));
        let sane = le16(&top, 510) == 0xaa55
            && matches!(sector, 512 | 1024 | 2048 | 4096)
            && each.is_power_of_two()
            && tables > 0
            && le16(&top, 22) == 0
            && sectors * sector <= length;
        let data = reserved + tables * table_sectors;
        let clusters = sectors.saturating_sub(data) / each.max(1);
        if !sane || clusters < FAT32_CLUSTERS || clusters.saturating_add(2) * 4 > table_sectors * sector {
            return Err(Fault::nothing("the ESP has no FAT32 boot sector"));
        }
        Ok(Self {
            view,
            start,
            table: start + reserved * sector,
            data: start + data * sector,
            clusters,
            cluster_bytes: each * sector,
            root: le32(&top, 44) & CLUSTER,
        })
    }

    fn place(&self, cluster: u32) -> Result<u64, Fault> {
        let index = u64::from(cluster).checked_sub(2).filter(|index| *index < self.clusters);
        let index = index.ok_or_else(|| Fault::disk(format!("FAT names cluster {cluster}, which is not there")))?;
        Ok(self.data + index * self.cluster_bytes)
    }

    /// The clusters from `first` on, at most `most`.
    fn chain(&self, first: u32, most: usize) -> Result<Vec<u32>, Fault> {
        let (mut chain, mut next) = (Vec::new(), first);
        while next < END && chain.len() < most {
            self.place(next)?;
            chain.push(next);
            let mut number = [0; 4];
            self.view.read(self.table + u64::from(next) * 4, &mut number)?;
            next = le32(&number, 0) & CLUSTER;
        }
        Ok(chain)
    }

    fn list_at(&self, first: u32) -> Result<Vec<Item>, Fault> {
        let mut bytes = Vec::new();
        for cluster in self.chain(first, DIRECTORY_CLUSTERS)? {
            let from = bytes.len();
            bytes.resize(from + usize::try_from(self.cluster_bytes).unwrap_or(0), 0);
            self.view.read(self.place(cluster)?, &mut bytes[from..])?;
        }
        Ok(items(&bytes))
    }

    /// Finds what a path names; absent where a part is missing.
    ///
    /// # Errors
    /// When a directory on the way is damaged.
    pub fn find(&self, path: &str) -> Result<Option<Item>, Fault> {
        let mut item = Item { name: String::new(), folder: true, size: 0, first: self.root };
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if !item.folder {
                return Ok(None);
            }
            let mut items = self.list_at(item.first)?.into_iter();
            match items.find(|item| item.name.eq_ignore_ascii_case(part)) {
                Some(found) => item = found,
                None => return Ok(None),
            }
        }
        Ok(Some(item))
    }

    /// Lists a directory; one that is not there has nothing.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn list(&self, path: &str) -> Result<Vec<Item>, Fault> {
        match self.find(path)? {
            Some(item) if item.folder => self.list_at(item.first),
            _ => Ok(Vec::new()),
        }
    }

    fn chain_of(&self, item: &Item) -> Result<Vec<u32>, Fault> {
        if item.size > FILE_BYTES {
            return Err(Fault::disk(format!("{} is longer than any file", item.name)));
        }
        let needed = usize::try_from(item.size.div_ceil(self.cluster_bytes)).unwrap_or(usize::MAX);
        if needed == 0 {
            return Ok(Vec::new());
        }
        let chain = self.chain(item.first, needed).map_err(|fault| fault.of(&item.name))?;
        if chain.len() < needed {
            return Err(Fault::disk(format!("{} ends after {} of {needed} clusters", item.name, chain.len())));
        }
        Ok(chain)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When its chain ends before its size.
    pub fn content(&self, item: &Item) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        for cluster in self.chain_of(item)? {
            let from = bytes.len();
            bytes.resize(from + usize::try_from(self.cluster_bytes).unwrap_or(0), 0);
            self.view.read(self.place(cluster)?, &mut bytes[from..])?;
        }
        bytes.truncate(usize::try_from(item.size).unwrap_or(usize::MAX));
        Ok(bytes)
    }

    /// True where a system has it mounted, or was cut while it had.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub fn mounted(&self) -> Result<bool, Fault> {
        let mut state = [0];
        self.view.read(self.start + STATE, &mut state)?;
        Ok(state[0] & MOUNTED != 0)
    }

    /// Clusters in use that no name leads to.
    ///
    /// # Errors
    /// When a directory or a chain is damaged, or two names share a cluster.
    pub fn lost(&self) -> Result<usize, Fault> {
        let mut table = vec![0; (usize::try_from(self.clusters).unwrap_or(0) + 2) * 4];
        self.view.read(self.table, &mut table)?;
        // What is followed is made free, so that nothing is followed twice.
        let mut numbers: Vec<u32> = table.chunks_exact(4).map(|number| le32(number, 0) & CLUSTER).collect();
        numbers[..2].fill(0);
        let mut items = vec![Item { name: "/".to_owned(), folder: true, size: 0, first: self.root }];
        while let Some(item) = items.pop() {
            if item.folder {
                items.extend(self.list_at(item.first)?);
            }
            let mut next = item.first;
            // A file without content begins nowhere.
            while next != 0 && next < END {
                let own = usize::try_from(next).ok().and_then(|at| numbers.get_mut(at)).map(std::mem::take);
                next = own
                    .filter(|next| *next != 0)
                    .ok_or_else(|| Fault::disk(format!("cluster {next} of {} is free, or another's", item.name)))?;
            }
        }
        Ok(numbers.into_iter().filter(|number| *number != 0).count())
    }

    /// Where a file begins on the disk.
    ///
    /// # Errors
    /// When it begins nowhere.
    pub fn first_byte(&self, item: &Item) -> Result<u64, Fault> {
        self.place(item.first)
    }

    /// Names a file's content.
    ///
    /// # Errors
    /// As [`Fat::content`].
    pub fn name_of(&self, item: &Item) -> Result<u64, Fault> {
        let mut hasher = Mix::default();
        hasher.write_u64(item.size);
        for cluster in self.chain_of(item)? {
            hasher.write_u32(cluster);
            self.view.stamp(self.place(cluster)?, self.cluster_bytes, &mut hasher);
        }
        Ok(hasher.finish())
    }
}

/// The sum of a short name that each piece of its long one carries.
fn sum(short: &[u8]) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

fn short_name(entry: &[u8]) -> String {
    let part = |bytes: &[u8], lower: bool| {
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let text = text.trim_end().to_owned();
        if lower { text.to_ascii_lowercase() } else { text }
    };
    let (name, kind) = (part(&entry[..8], entry[12] & 8 != 0), part(&entry[8..11], entry[12] & 16 != 0));
    if kind.is_empty() { name } else { format!("{name}.{kind}") }
}

fn items(bytes: &[u8]) -> Vec<Item> {
    let mut items = Vec::new();
    // Pieces of a long name as they stand: the last one first.
    let mut pieces: Vec<&[u8]> = Vec::new();
    for entry in bytes.chunks_exact(ENTRY) {
        match (entry[0], entry[11]) {
            (0, _) => break,
            (FREE, _) => pieces.clear(),
            (place, LONG) => {
                if place & LAST_PIECE != 0 {
                    pieces.clear();
                }
                pieces.push(entry);
            }
            (_, kind) if kind & LABEL != 0 => pieces.clear(),
            (_, kind) => {
                let name = long_name(&pieces, sum(&entry[..11])).unwrap_or_else(|| short_name(entry));
                pieces.clear();
                let first = u32::from(le16(entry, 20)) << 16 | u32::from(le16(entry, 26));
                let (folder, size) = (kind & FOLDER != 0, u64::from(le32(entry, 28)));
                if name != "." && name != ".." {
                    items.push(Item { name, folder, size, first: first & CLUSTER });
                }
            }
        }
    }
    items
}

fn long_name(pieces: &[&[u8]], sum: u8) -> Option<String> {
    let count = u8::try_from(pieces.len()).ok().filter(|count| *count > 0 && usize::from(*count) <= PIECES)?;
    let mut units = Vec::new();
    for (number, piece) in (1..=count).zip(pieces.iter().rev()) {
        let mark = if number == count { LAST_PIECE } else { 0 };
        if piece[0] != number | mark || piece[13] != sum {
            return None;
        }
        let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
        units.extend(places.map(|at| le16(piece, at)));
    }
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    String::from_utf16(&units[..end]).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;
    use std::process::Command;

    use super::*;

    const SIZE: u64 = 64 << 20;

    fn piece(number: u8, sum: u8, text: &str) -> [u8; ENTRY] {
        let mut entry = [0xff; ENTRY];
        (entry[0], entry[11], entry[12], entry[13]) = (number, LONG, 0, sum);
        entry[26..28].fill(0);
        let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
        for (place, unit) in places.zip(text.encode_utf16().chain([0])) {
            entry[place..place + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entry
    }

    fn short(name: &[u8; 11]) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[..11].copy_from_slice(name);
        entry[11] = 0x20;
        entry
    }

    fn names(entries: &[[u8; ENTRY]]) -> Vec<String> {
        items(&entries.concat()).into_iter().map(|item| item.name).collect()
    }

    #[test]
    fn a_long_name_counts_only_when_all_of_it_is_there() {
        let own = short(b"ROCKET~1CON");
        let sum = sum(b"ROCKET~1CON");
        let (second, first) = (piece(0x42, sum, ".conf"), piece(1, sum, "rocketos-0000"));
        assert_eq!(names(&[second, first, own]), ["rocketos-0000.conf"]);
        let deleted = |mut entry: [u8; ENTRY]| {
            entry[0] = FREE;
            entry
        };
        assert_eq!(names(&[second, deleted(first), own]), ["ROCKET~1.CON"]);
        assert_eq!(names(&[first, own]), ["ROCKET~1.CON"]);
        assert_eq!(names(&[second, own]), ["ROCKET~1.CON"]);
        assert_eq!(names(&[piece(0x42, sum ^ 1, ".conf"), first, own]), ["ROCKET~1.CON"]);
        assert_eq!(names(&[second, first, deleted(own)]), Vec::<String>::new());
        assert_eq!(names(&[[0; ENTRY], own]), Vec::<String>::new());
    }

    #[test]
    fn files_are_those_that_mtools_put_in() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, content) = (folder.path().join("esp"), folder.path().join("content"));
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 253) as u8).collect();
        std::fs::write(&content, &bytes).unwrap();
        std::fs::File::create(&disk).unwrap().set_len(SIZE).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            assert!(Command::new(program).args(arguments).output().unwrap().status.success(), "{program}");
        };
        let (disk, content) = (disk.display().to_string(), content.display().to_string());
        run("mkfs.vfat", &["-F", "32", "-s", "1", &disk]);
        run("mmd", &["-i", &disk, "::/loader", "::/loader/entries"]);
        let name = format!("rocketos-000001-{}+3.conf", "0f".repeat(16));
        run("mcopy", &["-i", &disk, &content, &format!("::/loader/entries/{name}")]);
        run("mcopy", &["-i", &disk, &content, "::/loader/Short.txt"]);
        let recording = crate::disk::Recording::without_requests(disk.as_ref()).unwrap();
        let fat = Fat::open(recording.view(&[]), 0, SIZE).unwrap();
        let listed: Vec<_> = fat.list("LOADER/entries").unwrap().into_iter().map(|item| item.name).collect();
        assert_eq!(listed, std::slice::from_ref(&name));
        let item = fat.find(&format!("/loader/entries/{name}")).unwrap().unwrap();
        assert_eq!(fat.content(&item).unwrap(), bytes);
        assert!(fat.find("loader/short.TXT").unwrap().is_some());
        assert!(fat.find("loader/absent").unwrap().is_none());
        assert_eq!((fat.mounted().unwrap(), fat.lost().unwrap()), (false, 0));
        let cut = Item { size: item.size + 4096, ..item };
        assert!(matches!(fat.content(&cut), Err(Fault::Disk(_))));
        assert!(matches!(Fat::open(recording.view(&[]), 0, SIZE / 2), Err(Fault::Nothing(_))));
        let file = std::fs::File::options().write(true).open(&disk).unwrap();
        // The last cluster of both tables' numbers is nobody's; and a system has it mounted.
        file.write_all_at(&END.to_le_bytes(), fat.table + (fat.clusters + 1) * 4).unwrap();
        file.write_all_at(&[MOUNTED], STATE).unwrap();
        let recording = crate::disk::Recording::without_requests(disk.as_ref()).unwrap();
        let fat = Fat::open(recording.view(&[]), 0, SIZE).unwrap();
        assert_eq!((fat.mounted().unwrap(), fat.lost().unwrap()), (true, 1));
    }
}

//! A root file system put together from layers, without root: an index in memory, contents in one spool file.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use tar::EntryType;

use super::cpio;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const DEFAULT_FILE_MODE: u32 = 0o100_644;

/// A file system object without its names.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Kind and permissions, as in `st_mode`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u32,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    pub content: Content,
}

/// A node's bytes.
#[derive(Debug, Clone)]
pub(super) enum Content {
    None,
    /// A symlink's target.
    Inline(Vec<u8>),
    /// Offset and length in the spool.
    Spooled(u64, u64),
}

/// A root file system.
pub(super) struct Root {
    nodes: Vec<Node>,
    /// Paths without a leading slash, to nodes; in byte order a folder comes before what it holds.
    names: BTreeMap<Vec<u8>, usize>,
    spool: File,
    end: u64,
}

impl Root {
    /// Starts with nothing.
    pub(super) fn new() -> Result<Self> {
        let spool = tempfile::tempfile().context("making a spool file")?;
        Ok(Self { nodes: Vec::new(), names: BTreeMap::new(), spool, end: 0 })
    }

    /// Lays one layer over what is there.
    pub(super) fn add_layer(&mut self, layer: impl Read) -> Result<()> {
        let mut archive = tar::Archive::new(layer);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = normal(&entry.path_bytes())?;
            if path.is_empty() {
                continue;
            }
            let (folder, name) = split(&path);
            if name == OPAQUE {
                self.remove_below(folder);
            } else if let Some(hidden) = name.strip_prefix(WHITEOUT) {
                let hidden = if folder.is_empty() { hidden.to_vec() } else { [folder, b"/", hidden].concat() };
                self.remove(&hidden);
            } else if entry.header().entry_type() == EntryType::Link {
                let target = normal(&entry.link_name_bytes().context("a hard link to nothing")?)?;
                let node = self.names.get(&target).copied();
                let node = node.with_context(|| format!("a hard link to {}, which is not there", show(&target)))?;
                self.names.insert(path, node);
            } else {
                let node = self.read(&mut entry).with_context(|| format!("reading {}", show(&path)))?;
                let folder_now = node.mode & 0o170_000 == 0o040_000;
                if !folder_now {
                    self.remove_below(&path);
                }
                self.nodes.push(node);
                self.names.insert(path, self.nodes.len() - 1);
            }
        }
        Ok(())
    }

    /// Puts a plain file, in place of what was there.
    pub(super) fn put_file(&mut self, path: &[u8], bytes: &[u8]) -> Result<()> {
        let content = self.spool(&mut &*bytes)?;
        let node = Node { mode: DEFAULT_FILE_MODE, uid: 0, gid: 0, mtime: 0, device: (0, 0), content };
        self.nodes.push(node);
        self.names.insert(path.to_vec(), self.nodes.len() - 1);
        Ok(())
    }

    /// Removes a path and everything below it.
    pub(super) fn remove(&mut self, path: &[u8]) {
        self.names.remove(path);
        self.remove_below(path);
    }

    /// Returns the contents of the only file whose path begins and ends like this.
    pub(super) fn only_file(&mut self, prefix: &[u8], suffix: &[u8]) -> Result<Vec<u8>> {
        let matches = self.names.iter().filter(|(path, _)| path.starts_with(prefix) && path.ends_with(suffix));
        let found: Vec<_> = matches.map(|(_, node)| self.nodes[*node].content.clone()).collect();
        let [Content::Spooled(offset, length)] = found.as_slice() else {
            bail!("expected one file {}*{}, found {}", show(prefix), show(suffix), found.len());
        };
        self.spool.seek(SeekFrom::Start(*offset))?;
        let mut bytes = Vec::new();
        (&self.spool).take(*length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes everything as an initramfs.
    pub(super) fn write_cpio(mut self, to: &Path) -> Result<()> {
        let mut links: HashMap<usize, u32> = HashMap::new();
        for node in self.names.values() {
            *links.entry(*node).or_default() += 1;
        }
        let mut out = cpio::Writer::new(BufWriter::new(File::create(to)?));
        let mut written = std::collections::HashSet::new();
        for (path, index) in &self.names {
            let node = &self.nodes[*index];
            // Of several names for one node the first carries the bytes; the kernel links the others to it.
            let first = written.insert(*index);
            let inode = u32::try_from(*index + 1).context("more files than an initramfs can number")?;
            match &node.content {
                Content::Spooled(offset, length) if first => {
                    self.spool.seek(SeekFrom::Start(*offset))?;
                    out.entry(path, node, inode, links[index], (&self.spool).take(*length), *length)?;
                }
                Content::Inline(bytes) => {
                    out.entry(path, node, inode, 1, bytes.as_slice(), bytes.len() as u64)?;
                }
                _ => out.entry(path, node, inode, links[index], std::io::empty(), 0)?,
            }
        }
        out.finish()?.flush().context("writing the initramfs's end")
    }

    fn read(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<Node> {
        let header = entry.header().clone();
        // Other kinds may leave the fields empty.
        let device = match header.entry_type() {
            EntryType::Char | EntryType::Block => {
                (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))
            }
            _ => (0, 0),
        };
        let link = entry.link_name_bytes().map(|name| name.into_owned());
        let (kind, content) = match header.entry_type() {
            EntryType::Directory => (0o040_000, Content::None),
            EntryType::Symlink => (0o120_000, Content::Inline(link.context("a symlink to nothing")?)),
            EntryType::Char => (0o020_000, Content::None),
            EntryType::Block => (0o060_000, Content::None),
            EntryType::Fifo => (0o010_000, Content::None),
            kind if kind.is_file() => (0o100_000, self.spool(entry)?),
            other => bail!("an entry of an unknown kind: {other:?}"),
        };
        let narrow = |value: u64| u32::try_from(value).context("a number too large for an initramfs");
        Ok(Node {
            mode: kind | (header.mode()? & 0o7777),
            uid: narrow(header.uid()?)?,
            gid: narrow(header.gid()?)?,
            mtime: narrow(header.mtime()?)?,
            device,
            content,
        })
    }

    fn spool(&mut self, from: &mut impl Read) -> Result<Content> {
        self.spool.seek(SeekFrom::Start(self.end))?;
        let length = std::io::copy(from, &mut self.spool).context("spooling a file")?;
        let offset = self.end;
        self.end += length;
        Ok(Content::Spooled(offset, length))
    }

    fn remove_below(&mut self, folder: &[u8]) {
        let prefix = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
        let below: Vec<_> = self
            .names
            .range(prefix.clone()..)
            .map(|(p, _)| p)
            .take_while(|p| p.starts_with(&prefix))
            .cloned()
            .collect();
        for path in below {
            self.names.remove(&path);
        }
    }
}

/// Returns a path without leading `./`, doubled or trailing slashes; one that climbs is refused.
fn normal(path: &[u8]) -> Result<Vec<u8>> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&b"..".as_slice()) {
        bail!("a path that climbs: {}", show(path));
    }
    Ok(parts.join(&b'/'))
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|byte| *byte == b'/').map_or((b"".as_slice(), path), |at| (&path[..at], &path[at + 1..]))
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            if kind.is_file() {
                header.set_size(data.len() as u64);
                builder.append_data(&mut header, path, data.as_bytes()).unwrap();
            } else {
                header.set_size(0);
                header.set_link_name(data).unwrap();
                builder.append_data(&mut header, path, std::io::empty()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    fn names(root: &Root) -> Vec<String> {
        root.names.keys().map(|path| show(path)).collect()
    }

    #[test]
    fn whiteouts_hide_what_lower_layers_hold() {
        let mut root = Root::new().unwrap();
        let file = EntryType::Regular;
        root.add_layer(&*layer(&[("a/one", file, "1"), ("a/two", file, "2"), ("b/x", file, "x"), ("b", file, "")]))
            .unwrap();
        root.add_layer(&*layer(&[("./a/.wh.one", file, ""), ("c/new", file, "n")])).unwrap();
        assert_eq!(names(&root), ["a/two", "b", "c/new"]);
        root.add_layer(&*layer(&[("c/.wh..wh..opq", file, "")])).unwrap();
        assert_eq!(names(&root), ["a/two", "b"]);
    }

    #[test]
    fn hard_links_share_one_node() {
        let mut root = Root::new().unwrap();
        root.add_layer(&*layer(&[("a", EntryType::Regular, "bytes"), ("b", EntryType::Link, "a")])).unwrap();
        assert_eq!(root.names[b"a".as_slice()], root.names[b"b".as_slice()]);
    }

    #[test]
    fn refuses_paths_that_climb() {
        assert!(normal(b"a/../../etc").is_err());
    }
}

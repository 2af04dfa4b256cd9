//! Packs the initramfs: our program as /init and the modules it may load.
//!
//! A newc archive (Linux, "initramfs buffer format"), zstd-compressed, in which nothing depends on when or where it was
//! made: entries in order of their names, numbered from 1, owned by root, last changed in 1970. Modules lie uncompressed,
//! for the archive compresses better as a whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read, Write},
    path::Path,
};

use rocketos_model::layout;

use crate::{
    SealError,
    modules::{Modules, initramfs_files, uncompressed},
    rules::InitramfsModule,
};

/// Folders the program mounts on, and the one that becomes the root.
const FOLDERS: [&str; 7] = ["dev", "proc", "sys", "run", "tmp", "new", "root"];
/// Compression level: sealing happens once, every boot reads the result.
const LEVEL: i32 = 19;
/// Bytes of one uncompressed module.
const MODULE_BYTES: u64 = 64 << 20;
/// Bytes of the program.
const INIT_BYTES: u64 = 64 << 20;
const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// Makes the archive, with the modules in `carried`.
pub(crate) fn pack(
    root: &Path,
    init: &Path,
    modules: &Modules,
    carried: &BTreeSet<String>,
) -> Result<Vec<u8>, SealError> {
    let size = fs::metadata(init).map_err(SealError::read(init))?.len();
    if size > INIT_BYTES {
        return Err(SealError::TooLarge { path: init.display().to_string(), found: size, limit: INIT_BYTES });
    }
    let init = fs::read(init).map_err(SealError::read(init))?;
    let mut entries: BTreeMap<String, (u32, Vec<u8>)> = BTreeMap::from([("init".to_owned(), (PROGRAM, init))]);
    let folder = |path: &str| (path.to_owned(), (FOLDER, Vec::new()));
    entries.extend(FOLDERS.map(folder));
    let top = format!("lib/modules/{}", modules.release);
    for path in carried {
        let source = format!("usr/{top}/{path}");
        let content = module(&root.join(&source), &source)?;
        entries.insert(format!("{top}/{}", uncompressed(path)), (FILE, content));
    }
    for (file, text) in initramfs_files(modules, root, carried)? {
        entries.insert(format!("{top}/{file}"), (FILE, text.into_bytes()));
    }
    let folders: BTreeSet<String> =
        entries.keys().flat_map(|path| path.match_indices('/').map(|(at, _)| path[..at].to_owned())).collect();
    entries.extend(folders.iter().map(|path| folder(path)));
    compress(&archive(&entries)?)
}

/// An archive that follows the compressed one, which is packed before the digest is known: what was sealed, for the
/// initramfs to compare with what it is given.
pub(crate) fn sealed(cmdline: &str, allowed: &str) -> Result<Vec<u8>, SealError> {
    let mut entries = BTreeMap::new();
    for (path, text) in [(layout::initramfs::CMDLINE, cmdline), (layout::initramfs::ALLOWED, allowed)] {
        if let Some((folder, _)) = path.rsplit_once('/') {
            entries.insert(folder.to_owned(), (FOLDER, Vec::new()));
        }
        entries.insert(path.to_owned(), (FILE, text.as_bytes().to_vec()));
    }
    archive(&entries)
}

/// Paths of the modules to carry.
pub(crate) fn carried(modules: &Modules, rules: &[InitramfsModule]) -> Result<BTreeSet<String>, SealError> {
    for rule in rules {
        let known = modules.by_name.contains_key(&rule.name) || modules.builtin.contains(&rule.name);
        if !known && !rule.optional {
            return Err(SealError::NoModule {
                path: rule.line.path.clone(),
                line: rule.line.number,
                module: rule.name.clone(),
            });
        }
    }
    Ok(modules.closure(rules.iter().map(|rule| rule.name.clone())))
}

/// Reads a module, uncompressed.
fn module(full: &Path, path: &str) -> Result<Vec<u8>, SealError> {
    let file = fs::File::open(full).map_err(SealError::read(full))?;
    let reader: Box<dyn Read> = match path.rsplit('.').next() {
        Some("xz") => Box::new(liblzma::read::XzDecoder::new(file)),
        Some("zst") => Box::new(zstd::Decoder::new(file).map_err(SealError::read(full))?),
        Some("ko") => Box::new(file),
        _ => return Err(SealError::malformed(path, "a module is a .ko, .ko.xz or .ko.zst file")),
    };
    let mut content = Vec::new();
    reader.take(MODULE_BYTES + 1).read_to_end(&mut content).map_err(SealError::read(full))?;
    match content.len() as u64 > MODULE_BYTES {
        true => Err(SealError::TooLarge { path: path.to_owned(), found: content.len() as u64, limit: MODULE_BYTES }),
        false => Ok(content),
    }
}

fn archive(entries: &BTreeMap<String, (u32, Vec<u8>)>) -> Result<Vec<u8>, SealError> {
    let written: io::Result<Vec<u8>> = (|| {
        let mut out = Vec::new();
        for (number, (name, (mode, content))) in (1..).zip(entries) {
            let size = u32::try_from(content.len()).map_err(io::Error::other)?;
            let links = if *mode == FOLDER { 2 } else { 1 };
            let mut writer = cpio::newc::Builder::new(name).ino(number).mode(*mode).nlink(links).write(&mut out, size);
            writer.write_all(content)?;
            writer.finish()?;
        }
        cpio::newc::trailer(&mut out)?;
        Ok(out)
    })();
    written.map_err(SealError::write("initramfs"))
}

fn compress(archive: &[u8]) -> Result<Vec<u8>, SealError> {
    let compressed: io::Result<Vec<u8>> = (|| {
        let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
        encoder.set_pledged_src_size(Some(archive.len() as u64))?;
        encoder.include_checksum(true)?;
        encoder.write_all(archive)?;
        encoder.finish()
    })();
    compressed.map_err(SealError::write("initramfs"))
}

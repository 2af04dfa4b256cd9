//! What `Store::list_files` says of a mountable image, by path.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// Bits of a mode that say what a file is (inode(7)).
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;

/// One file: a line of composefs-dump(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Kind and permissions; that of the first name for a further name of a file.
    pub mode: u32,
    /// Names the file has.
    pub links: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// The first name of a file that has several, where this is another.
    pub same_as: Option<String>,
    /// The fs-verity digest of its object.
    pub object: Option<String>,
    /// Extended attributes, values as raw bytes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    pub fn is_folder(&self) -> bool {
        self.mode & KIND == FOLDER
    }
}

/// All files of an image.
pub struct Listing(BTreeMap<String, Entry>);

impl Listing {
    /// Reads the lines: path, size, mode, links, uid, gid, rdev, mtime, payload, content, digest, attributes.
    pub fn parse(text: &str) -> Result<Self> {
        let mut all: BTreeMap<String, Entry> = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            ensure!(fields.len() >= 11, "'{line}' has {} fields", fields.len());
            let path = String::from_utf8(unescape(fields[0])?)?;
            let entry = if fields[2].starts_with('@') {
                let first = String::from_utf8(unescape(fields[8])?)?;
                let same = all.get(&first).with_context(|| format!("'{line}' names a file not seen before"))?.clone();
                Entry { same_as: Some(first), ..same }
            } else {
                entry(&fields).with_context(|| format!("the line '{line}'"))?
            };
            all.insert(path, entry);
        }
        Ok(Self(all))
    }

    pub fn find(&self, path: &str) -> Result<&Entry> {
        self.0.get(path).with_context(|| format!("{path} is not in the image"))
    }

    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Everything at or below a path, or whose path begins so.
    pub fn beginning(&self, prefix: &str) -> Vec<&str> {
        self.0.keys().map(String::as_str).filter(|path| path.starts_with(prefix)).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_str(), entry))
    }
}

fn entry(fields: &[&str]) -> Result<Entry> {
    let mut xattrs = BTreeMap::new();
    for field in &fields[11..] {
        let (name, value) = field.split_once('=').with_context(|| format!("the attribute '{field}'"))?;
        xattrs.insert(String::from_utf8(unescape(name)?)?, unescape(value)?);
    }
    let seconds = fields[7].split('.').next().unwrap_or_default();
    Ok(Entry {
        mode: u32::from_str_radix(fields[2], 8)?,
        links: fields[3].parse()?,
        mtime: seconds.parse()?,
        same_as: None,
        object: Some(fields[10]).filter(|digest| *digest != "-").map(str::to_owned),
        xattrs,
    })
}

fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next().context("a backslash at the end")? {
            b'x' => {
                let digits = [rest.next().context("half an escape")?, rest.next().context("half an escape")?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?);
            }
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            other => bytes.push(other),
        }
    }
    Ok(bytes)
}

#[test]
fn a_listing_gives_escapes_and_further_names_their_meaning() -> Result<()> {
    let text = "/ 0 40755 2 0 0 0 1.0 - - -\n\
                /a\\x20b 3 100644 2 0 0 0 86400.5 - - - security.capability=\\x01\\x00\n\
                /c 0 @120000 - - - - 0.0 /a\\x20b - -\n";
    let files = Listing::parse(text)?;
    let first = files.find("/a b")?;
    ensure!(first.mtime == 86_400 && first.xattrs["security.capability"] == [1, 0] && first.links == 2);
    let second = files.find("/c")?;
    ensure!(second.same_as.as_deref() == Some("/a b") && second.mode == first.mode);
    ensure!(files.find("/")?.is_folder() && !second.is_folder());
    ensure!(Listing::parse("/short 0\n").is_err());
    Ok(())
}

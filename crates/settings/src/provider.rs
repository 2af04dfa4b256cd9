//! Providers: who hands in user data, in numbered order.
//!
//! ```text
//! 10 image         a file of the image                                      every boot
//! 20 esp           a file on the ESP                                        every boot
//! 30 nocloud       a disk labelled `cidata`                                 the first that is taken
//! 40 credentials   fw_cfg and SMBIOS, by a name of ours                     every boot
//! 50 ec2           a metadata service, asked with a token      network      the first that is taken
//! 60 url           an address and its hash on the command line network      every boot
//!
//! collect(machine, web, stored)     what each of them says; without `web`, who needs the network waits
//! take(stored, below, handed)       what is stored then; what is wrong is refused by the document, and told with its line
//! ```
//!
//! All that hand in a document count, a later one over an earlier one. What a provider handed in is remembered with its name. Where it
//! hands in something broken, or cannot be asked, what is remembered of it stays in force.
//!
//! Nothing is fetched or mounted here: [`Machine`] and [`Web`] are the caller's. Files of image and kernel are read below a root.

pub mod credentials;
pub mod ec2;
pub mod esp;
pub mod image;
pub mod nocloud;
pub mod smbios;
mod take;
pub mod url;
pub mod web;

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rocketos_model::cmdline;
use sha2::{Digest as _, Sha256};

pub use take::{Refused, Taken, take};
pub use web::{Answer, Method, Request, Way, Web};

use crate::{
    store::Content,
    userdata::{self, DOCUMENT_BYTES, Document},
};

/// Bytes of the kernel's command line.
const CMDLINE_BYTES: usize = 64 << 10;

/// How long what a provider hands in counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The first document that is taken counts for the life of the node: who handed it in may be gone afterwards, and is not asked again.
    FirstBoot,
    /// What is handed in at each boot counts, and nothing once it hands in nothing.
    EveryBoot,
}

/// Who hands in user data.
#[derive(Debug)]
pub struct Provider {
    /// Its place: those with higher numbers lie over it.
    pub order: u8,
    /// Its name: in origins of settings, messages and receipts.
    pub name: &'static str,
    /// How long what it hands in counts.
    pub when: When,
    look: fn(&mut dyn Machine, Option<&mut dyn Web>) -> Looked,
    /// The SHA-256 that its document has, where that is known before it is there.
    promised: fn(&mut dyn Machine) -> Option<String>,
}

impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// All of them, in their order.
pub const ALL: [&Provider; 6] =
    [&image::PROVIDER, &esp::PROVIDER, &nocloud::PROVIDER, &credentials::PROVIDER, &ec2::PROVIDER, &url::PROVIDER];

/// What a provider has; why it cannot be known, in words that repeat nothing of a document.
pub type Looked = Result<Seen, String>;

/// What a provider has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Nothing,
    /// It takes the network to know.
    Later,
    /// A document, as it came.
    Bytes(Vec<u8>),
}

impl From<Option<Vec<u8>>> for Seen {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        bytes.map_or(Self::Nothing, Self::Bytes)
    }
}

/// The machine, as providers look at it.
pub trait Machine {
    /// Below which `usr`, `proc` and `sys` are.
    fn root(&self) -> &Path;

    /// A file of the ESP, at most `most` bytes of it; absent where there is none, or no ESP.
    ///
    /// # Errors
    /// When it cannot be read, or is longer.
    fn on_esp(&mut self, path: &str, most: usize) -> Result<Option<Vec<u8>>, String>;

    /// A file at the top of the file system with this label, in small or capital letters; absent where there is no such disk, or no such
    /// file on it.
    ///
    /// # Errors
    /// When there are several such disks, or it cannot be read, or is longer.
    fn on_labelled(&mut self, label: &str, name: &str, most: usize) -> Result<Option<Vec<u8>>, String>;
}

/// What a provider handed in.
#[derive(Debug, Clone, PartialEq)]
pub struct Handed {
    /// Who.
    pub provider: &'static Provider,
    /// What.
    pub said: Said,
}

/// What a provider handed in.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// What is remembered of it, or nothing that counts: all stays as it is.
    Same,
    /// It waits for the network.
    Later,
    /// A document, with what it includes.
    Document {
        /// The SHA-256 of its bytes as they came, in lower-case hexadecimal.
        sha256: String,
        /// What it says.
        document: Document,
    },
    /// Something that is none; why.
    Wrong(String),
}

/// Asks providers: all of them, or `only` those of these names. Without `web`, who needs the network says [`Said::Later`].
pub fn collect(
    machine: &mut dyn Machine,
    mut web: Option<&mut dyn Web>,
    stored: &Content,
    only: Option<&[String]>,
) -> Vec<Handed> {
    let asked = |provider: &&Provider| only.is_none_or(|names| names.iter().any(|name| name == provider.name));
    let mut handed = Vec::new();
    for provider in ALL.into_iter().filter(asked) {
        // Once more for each: a borrow that ends.
        let web = web.as_mut().map(|web| &mut **web as &mut dyn Web);
        handed.push(Handed { provider, said: ask(provider, machine, web, stored) });
    }
    handed
}

fn ask(provider: &Provider, machine: &mut dyn Machine, mut web: Option<&mut dyn Web>, stored: &Content) -> Said {
    let remembered = stored.user_data_of(provider.name);
    if provider.when == When::FirstBoot && remembered.is_some() {
        return Said::Same;
    }
    let is_remembered = |sha256: &str| remembered.is_some_and(|data| data.sha256 == sha256);
    if (provider.promised)(machine).is_some_and(|sha256| is_remembered(&sha256)) {
        return Said::Same;
    }
    let again = web.as_mut().map(|web| &mut **web as &mut dyn Web);
    let bytes = match (provider.look)(machine, again) {
        Ok(Seen::Nothing) if provider.when == When::FirstBoot => return Said::Same,
        Ok(Seen::Nothing) => return Said::Nothing,
        Ok(Seen::Later) => return Said::Later,
        Ok(Seen::Bytes(bytes)) => bytes,
        Err(why) => return Said::Wrong(why),
    };
    let sha256 = hex::encode(Sha256::digest(&bytes));
    if is_remembered(&sha256) {
        return Said::Same;
    }
    let document = match (userdata::parse(&bytes), web) {
        (Ok(document), _) if document.include.is_empty() => Ok(document),
        (Ok(_), None) => return Said::Later,
        (Ok(_), Some(web)) => userdata::gather(&bytes, &mut web::Fetcher(web)),
        (Err(error), _) => Err(error),
    };
    document.map_or_else(|error| Said::Wrong(error.to_string()), |document| Said::Document { sha256, document })
}

/// Where what a provider of this name handed in lies; one that is not known here lies over all.
pub(crate) fn place(name: &str) -> (u8, &str) {
    let known = ALL.iter().find(|provider| provider.name == name);
    (known.map_or(u8::MAX, |provider| provider.order), name)
}

/// Where nothing is known of a document before it is there.
fn nothing_promised(_: &mut dyn Machine) -> Option<String> {
    None
}

/// The bytes of a file; absent where there is none.
fn file(path: &Path, most: usize) -> Result<Option<Vec<u8>>, String> {
    let failed = |error: io::Error| format!("reading {}: {error}", path.display());
    let file = match File::open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        other => other.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() > most {
        true => Err(format!("{} has more than {most} bytes", path.display())),
        false => Ok(Some(bytes)),
    }
}

/// What the command line says of a name; `-` and `_` are one, as with the kernel.
fn argument(root: &Path, name: &str) -> Result<Option<String>, String> {
    let Some(bytes) = file(&root.join("proc/cmdline"), CMDLINE_BYTES)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let normal = |name: &str| name.replace('-', "_");
    let mut found = cmdline::split(&text).filter_map(|word| {
        let (key, value) = word.split_once('=')?;
        (normal(key) == normal(name)).then(|| value.to_owned())
    });
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(format!("the kernel command line has {name}= more than once")),
        (value, None) => Ok(value),
    }
}

#[cfg(test)]
mod tests;

//! Finding a policy's files below a root.
//!
//! As systemd does it: `policy.toml` of the later folder stands in place of the earlier one's; drop-ins of all folders
//! are taken in the order of their names, and one stands in place of those of the same name in earlier folders. An
//! empty file, or a link to /dev/null, masks: it stands there and says nothing.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rocketos_model::limits::CONFIG_FILE_BYTES;
use rustix::{
    fs::{Dir, Mode, OFlags, ResolveFlags, openat2, readlinkat},
    io::Errno,
};

use super::{Policy, PolicyError, containers, file::Fragment};
use crate::limits;

/// Where policies lie, the later folder over the earlier.
pub const FOLDERS: [&str; 2] = ["usr/lib/rocketos/trust", "etc/rocketos/trust"];
/// The policy in each of them.
const POLICY: &str = "policy.toml";
/// The folder of drop-ins in each of them.
pub(super) const DROP_INS: &str = "policy.d";
/// What a masking link points at.
const NULL: &[u8] = b"/dev/null";

/// Files below a root. Links are followed as the image's own programs would: none leaves the root.
pub(super) struct Root {
    top: File,
    path: PathBuf,
}

impl Root {
    fn open(path: &Path) -> Result<Self, PolicyError> {
        let top = File::open(path).map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
        Ok(Self { top, path: path.to_owned() })
    }

    fn open_below(&self, path: &Path, flags: OFlags) -> Result<Option<File>, PolicyError> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match openat2(&self.top, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed(path)(error.into())),
        }
    }

    fn failed(&self, path: &Path) -> impl FnOnce(std::io::Error) -> PolicyError + use<> {
        let path = self.shown(path);
        move |source| PolicyError::Read { path, source }
    }

    /// The path as people see it from outside.
    fn shown(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's content; absent where there is none.
    pub(super) fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, PolicyError> {
        let Some(file) = self.open_below(path, OFlags::RDONLY | OFlags::NONBLOCK)? else { return Ok(None) };
        let meta = file.metadata().map_err(self.failed(path))?;
        if !meta.is_file() {
            return Err(self.failed(path)(std::io::Error::other("it is not a file")));
        }
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content).map_err(self.failed(path))?;
        if content.len() as u64 > limit {
            let found = meta.len().max(content.len() as u64);
            return Err(PolicyError::TooLarge { path: self.shown(path), what: "bytes", found, limit });
        }
        Ok(Some(content))
    }

    /// A key that a policy names.
    pub(super) fn key(&self, path: &Path) -> Result<Vec<u8>, PolicyError> {
        self.read(path, limits::KEY_BYTES)?
            .ok_or_else(|| self.failed(path)(std::io::Error::from(std::io::ErrorKind::NotFound)))
    }

    /// The text of a file of ours: absent where there is none, empty where it masks.
    fn text(&self, path: &Path) -> Result<Option<String>, PolicyError> {
        if let Some(folder) = self.folder(path)?
            && let Some(name) = path.file_name()
            && readlinkat(folder.as_fd(), name, Vec::new()).is_ok_and(|target| target.as_bytes() == NULL)
        {
            return Ok(Some(String::new()));
        }
        let Some(content) = self.read(path, CONFIG_FILE_BYTES)? else {
            return self.refuse_dangling(path).map(|()| None);
        };
        let utf8 = String::from_utf8(content).map_err(|error| self.failed(path)(std::io::Error::other(error)))?;
        Ok(Some(utf8))
    }

    fn folder(&self, path: &Path) -> Result<Option<File>, PolicyError> {
        let parent = path.parent().unwrap_or(Path::new("."));
        self.open_below(parent, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// A link to nothing is no absent policy: somebody meant one to be there.
    fn refuse_dangling(&self, path: &Path) -> Result<(), PolicyError> {
        let (Some(folder), Some(name)) = (self.folder(path)?, path.file_name()) else { return Ok(()) };
        match readlinkat(folder.as_fd(), name, Vec::new()) {
            Ok(_) => Err(self.failed(path)(std::io::Error::other("it is a link to nothing"))),
            Err(_) => Ok(()),
        }
    }

    /// Names of the drop-ins in a folder; none where there is no folder.
    fn drop_ins(&self, folder: &Path) -> Result<Vec<String>, PolicyError> {
        let Some(open) = self.open_below(folder, OFlags::RDONLY | OFlags::DIRECTORY)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in Dir::new(open).map_err(|error| self.failed(folder)(error.into()))? {
            let entry = entry.map_err(|error| self.failed(folder)(error.into()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".toml") && !name.starts_with('.') {
                names.push(name);
            }
            if names.len() > limits::DROP_INS {
                let (what, found, limit) = ("drop-ins", names.len() as u64, limits::DROP_INS as u64);
                return Err(PolicyError::TooLarge { path: self.shown(folder), what, found, limit });
            }
        }
        Ok(names)
    }
}

impl Policy {
    /// Reads the policy of the system whose root is at `root`: ours, or containers-policy.json(5) where no file of ours
    /// is there, not even one that masks. Where there is neither, the policy is absent and accepts nothing.
    ///
    /// # Errors
    /// When a file is unreadable, too large, or says what is not understood.
    pub fn read(root: &Path) -> Result<Self, PolicyError> {
        Self::read_outranked(root, None)
    }

    /// The same where a policy that came over a channel, its path and its text, outranks the image's: it stands in place
    /// of everything in /usr.
    ///
    /// # Errors
    /// As [`Policy::read`].
    pub fn read_outranked(root: &Path, newest: Option<(&Path, &str)>) -> Result<Self, PolicyError> {
        let root = Root::open(root)?;
        let folders = if newest.is_some() { &FOLDERS[1..] } else { &FOLDERS[..] };
        let mut texts: Vec<(PathBuf, String)> = Vec::new();
        for folder in folders.iter().rev() {
            let path = Path::new("/").join(folder).join(POLICY);
            if let Some(text) = root.text(&path)? {
                texts.push((path, text));
                break;
            }
        }
        if let Some((path, text)) = newest {
            // Whoever names a key by a file would read it from the image.
            Self::parse(path, text)?;
            if texts.is_empty() {
                texts.push((path.to_owned(), text.to_owned()));
            }
        }
        let mut drop_ins: BTreeMap<String, PathBuf> = BTreeMap::new();
        for folder in folders {
            let folder = Path::new("/").join(folder).join(DROP_INS);
            for name in root.drop_ins(&folder)? {
                drop_ins.insert(name.clone(), folder.join(name));
            }
        }
        for path in drop_ins.into_values() {
            // What was listed a moment ago is there.
            let text = root.text(&path)?.unwrap_or_default();
            texts.push((path, text));
        }
        if texts.is_empty() {
            return containers::read(&root);
        }
        let mut all = Fragment::default();
        for (path, text) in texts {
            all.lay(Fragment::parse(&path, &text)?);
        }
        all.finish(|path| root.key(path))
    }

    /// Reads a policy that somebody points at, and the keys beside it. No other file counts.
    ///
    /// # Errors
    /// As [`Policy::read`]; also when the file is absent.
    pub fn read_file(path: &Path) -> Result<Self, PolicyError> {
        let path = std::path::absolute(path).map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
        let root = Root::open(Path::new("/"))?;
        let absent = || root.failed(&path)(std::io::Error::from(std::io::ErrorKind::NotFound));
        let text = root.text(&path)?.ok_or_else(absent)?;
        Fragment::parse(&path, &text)?.finish(|path| root.key(path))
    }

    /// Reads a policy that is one text and has its keys in it (`pem`), such as one that travels over a channel. `path`
    /// says to people where it is.
    ///
    /// # Errors
    /// When the text says what is not understood, or names a key's file.
    pub fn parse(path: &Path, text: &str) -> Result<Self, PolicyError> {
        if text.len() as u64 > CONFIG_FILE_BYTES {
            let (what, found, limit) = ("bytes", text.len() as u64, CONFIG_FILE_BYTES);
            return Err(PolicyError::TooLarge { path: path.to_owned(), what, found, limit });
        }
        Fragment::parse(path, text)?.finish(|file| {
            Err(PolicyError::Wrong {
                path: path.to_owned(),
                place: format!("the key in {}", file.display()),
                problem: "a policy that travels alone has its keys in it: use 'pem' instead of 'file'".to_owned(),
            })
        })
    }
}

//! What the processes of this machine use: images that they have mounted, files that they have open or mapped.
//!
//! Looking into other processes takes rights that nothing else of the store needs. On a node `rocketos-in-use@.service` has them, and who has to know
//! asks it; where nobody listens (an installer, a builder) this process looks by itself.
//!
//! ```text
//! -> images\n                  or: files\n
//! <- <digest or path>\0 …      as bytes
//! <- \0                        the end: without it the answer was cut off
//! ```

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read, Write},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        net::UnixStream,
    },
    path::PathBuf,
    time::Duration,
};

use rocketos_model::{ComposefsDigest, layout};
use rustix::io::Errno;

/// How long the other side may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a request.
const REQUEST: u64 = 16;
/// Bytes of an answer: a million paths of usual length.
const ANSWER: u64 = 64 << 20;
/// Has the kernel forget names and inodes that nobody uses (Documentation/admin-guide/sysctl/vm.rst).
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";
const NAMES_AND_INODES: &str = "2";
/// Stands between what a mount is and what is mounted.
const SEPARATOR: &[u8] = b" - ";
const IMAGES: &str = "images";
const FILES: &str = "files";

/// Composefs digests of all images mounted now, in whichever mount namespace.
///
/// A namespace that no process is in, held by a file descriptor or a bind mount alone, is not seen; nor, unless `all` have to be, are those of
/// processes that this one may not look into.
///
/// # Errors
/// When a process cannot be looked into, or nobody answers.
pub fn images(all: bool) -> io::Result<BTreeSet<ComposefsDigest>> {
    let text = |entry: Vec<u8>| String::from_utf8(entry).ok().and_then(|text| text.parse().ok());
    let entries = ask(IMAGES)?.map_or_else(|| mounted(all), Ok)?;
    entries.into_iter().map(|entry| text(entry).ok_or_else(|| broken("what is no digest"))).collect()
}

/// Every file that some process has open or mapped. Processes come and go; those that are there now are what matters. The kernel forgets names
/// and inodes that nobody uses before.
///
/// # Errors
/// When nobody answers, or the kernel does not forget.
pub fn files() -> io::Result<BTreeSet<PathBuf>> {
    let entries = ask(FILES)?.map_or_else(open, Ok)?;
    Ok(entries.into_iter().map(|entry| PathBuf::from(OsString::from_vec(entry))).collect())
}

/// Answers who asks at a socket.
///
/// # Errors
/// When it asks for nothing that is known, a process cannot be looked into, or it does not listen.
pub fn answer(connection: UnixStream) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    BufReader::new((&connection).take(REQUEST)).read_line(&mut request)?;
    let entries = match request.trim_end() {
        IMAGES => mounted(true)?,
        FILES => open()?,
        _ => return Err(broken("what nobody answers")),
    };
    let mut out = io::BufWriter::new(&connection);
    for entry in entries {
        out.write_all(&entry)?;
        out.write_all(&[0])?;
    }
    out.write_all(&[0])?;
    out.flush()
}

/// Asks whoever looks for others; none where nobody does.
fn ask(what: &str) -> io::Result<Option<BTreeSet<Vec<u8>>>> {
    let mut connection = match UnixStream::connect(layout::node::IN_USE_SOCKET) {
        Ok(connection) => connection,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.write_all(format!("{what}\n").as_bytes())?;
    let mut answer = Vec::new();
    connection.take(ANSWER).read_to_end(&mut answer)?;
    read(&answer).map(Some)
}

fn read(answer: &[u8]) -> io::Result<BTreeSet<Vec<u8>>> {
    let Some(entries) = answer.strip_suffix(&[0]).filter(|entries| entries.last().is_none_or(|last| *last == 0)) else {
        return Err(broken("too little; 'journalctl -u \"rocketos-in-use@*\"' says why"));
    };
    Ok(entries.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).map(<[u8]>::to_vec).collect())
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} said {what}", layout::node::IN_USE_SOCKET))
}

/// Processes that are there now.
fn processes() -> io::Result<Vec<PathBuf>> {
    let is_process = |name: &std::ffi::OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
    let all = fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
    Ok(all.into_iter().filter(|entry| is_process(&entry.file_name())).map(|entry| entry.path()).collect())
}

/// Digests of images, as text.
fn mounted(all: bool) -> io::Result<BTreeSet<Vec<u8>>> {
    let (mut namespaces, mut found) = (BTreeSet::new(), BTreeSet::new());
    for process in processes()? {
        let read = fs::read_link(process.join("ns/mnt")).and_then(|namespace| {
            if !namespaces.contains(&namespace) {
                // Names of mount points are anybody's bytes.
                let table = File::open(process.join("mountinfo"))?;
                for line in BufReader::new(table).split(b'\n') {
                    found.extend(source(&line?));
                }
                namespaces.insert(namespace);
            }
            Ok(())
        });
        match read {
            Ok(()) => {}
            Err(error) if ended(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !all => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found.iter().map(|digest| digest.to_hex().into_bytes()).collect())
}

/// True where the process has ended meanwhile; a zombie's mount table gives EINVAL.
fn ended(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOENT | Errno::SRCH | Errno::INVAL))
}

/// The digest in a `composefs:<digest>` mount source (proc(5), mountinfo).
fn source(mount: &[u8]) -> Option<ComposefsDigest> {
    let end = mount.windows(SEPARATOR.len()).position(|bytes| bytes == SEPARATOR)? + SEPARATOR.len();
    let source = mount[end..].split(|byte| *byte == b' ').nth(1)?;
    str::from_utf8(source).ok()?.strip_prefix("composefs:")?.parse().ok()
}

/// Paths of files, as bytes.
fn open() -> io::Result<BTreeSet<Vec<u8>>> {
    fs::write(DROP_CACHES, NAMES_AND_INODES)?;
    let mut found = BTreeSet::new();
    for process in processes()? {
        let maps = fs::read(process.join("maps")).unwrap_or_default();
        let lines = maps.split(|byte| *byte == b'\n');
        found.extend(lines.filter_map(|line| line.iter().position(|byte| *byte == b'/').map(|at| line[at..].to_vec())));
        let links = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        found.extend(links.filter_map(|link| Some(fs::read_link(link.path()).ok()?.into_os_string().into_vec())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn finds_mounted_images() {
        let hex = "ab".repeat(64);
        let found = |line: &str| source(line.as_bytes());
        assert_eq!(found(&format!("22 1 0:21 / / ro - overlay composefs:{hex} ro,verity=require")), hex.parse().ok());
        assert_eq!(found("23 22 0:5 / /dev rw - devtmpfs dev rw"), None);
        assert_eq!(found("24 22 0:9 / /x rw - overlay composefs:12 rw"), None);
        assert_eq!(found("24 22 0:9 / /x rw -"), None);
    }

    /// Any container may mount something on a folder whose name is no text.
    #[test]
    fn a_mount_points_name_may_be_any_bytes() {
        let hex = "ab".repeat(64);
        let line = [b"22 1 0:21 / /\xff ro - overlay composefs:".as_slice(), hex.as_bytes(), b" ro"].concat();
        assert_eq!(source(&line), hex.parse().ok());
        assert_eq!(source(b"22 1 0:21 / /x ro - overlay composefs:\xff ro"), None);
    }

    #[test]
    fn knows_what_is_open_and_mapped() {
        let open = files().unwrap();
        assert!(open.contains(&std::env::current_exe().unwrap()), "this program is mapped");
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(files().unwrap().contains(file.path()));
    }

    /// What is answered to a request.
    fn asked(request: &str) -> (io::Result<()>, Vec<u8>) {
        let (mut here, there) = UnixStream::pair().unwrap();
        let service = thread::spawn(|| answer(there));
        here.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        here.read_to_end(&mut answer).unwrap();
        (service.join().unwrap(), answer)
    }

    #[test]
    fn answers_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (done, answer) = asked("files\n");
        done.unwrap();
        assert!(read(&answer).unwrap().contains(file.path().as_os_str().as_bytes()));
        assert!(read(&answer[..answer.len() - 1]).is_err() && read(&answer[..answer.len() / 2]).is_err());
        // Some hosts let not even root look into every process; then nothing is answered.
        let (done, answer) = asked("images\n");
        assert_eq!((done.is_ok(), read(&answer).is_ok()), (mounted(true).is_ok(), mounted(true).is_ok()));
    }

    #[test]
    fn answers_nothing_else() {
        for request in ["", "\n", "secrets\n", "images and more of it\n"] {
            let (here, there) = UnixStream::pair().unwrap();
            (&here).write_all(request.as_bytes()).unwrap();
            here.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(answer(there).is_err(), "{request}");
            assert!(read(&[]).is_err());
        }
        assert_eq!(read(&[0]).unwrap(), BTreeSet::new());
    }
}

//! Having laid what a host container runs on, where everybody sees it.
//!
//! Who brings images speaks to registries and has mounts of its own, so that nobody else sees what it mounts. On a node `rocketos-mounts@.service`,
//! which has no network, attaches it, with all that a container writes to. Where nobody listens (tests) this process does so by itself.
//!
//! ```text
//! -> lay <name> <label> kept|gone\n    with the descriptor of the image's mount (unix(7), SCM_RIGHTS)
//! -> clear <name>\n
//! <- done\n                            or why not
//! ```

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rocketos_model::layout;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use crate::{DeployError, Ground};

/// How long the other side may take: files of a container that kept many get other labels meanwhile.
const PATIENCE: Duration = Duration::from_secs(600);
/// Bytes of a request.
const REQUEST: usize = 1024;
/// Bytes of an answer.
const ANSWER: u64 = 4096;
const LAY: &str = "lay";
const CLEAR: &str = "clear";
const KEPT: &str = "kept";
const GONE: &str = "gone";
const DONE: &str = "done\n";

/// Has `root` attached, and made what the container `name` writes to.
pub(crate) fn lay(name: &str, root: OwnedFd, label: &str, persistent: bool) -> Result<(), DeployError> {
    let data = if persistent { KEPT } else { GONE };
    match asked(&format!("{LAY} {name} {label} {data}\n"), Some(&root)) {
        Ok(Some(())) => Ok(()),
        Ok(None) => Ground::of(name).build(root, label, persistent),
        Err(error) => Err(DeployError::io("having mounted what is below", Ground::of(name).folder())(error)),
    }
}

/// Has it all unmounted.
pub(crate) fn clear(name: &str) -> Result<(), DeployError> {
    match asked(&format!("{CLEAR} {name}\n"), None) {
        Ok(Some(())) => Ok(()),
        Ok(None) => Ground::of(name).unmount(),
        Err(error) => Err(DeployError::io("having unmounted what is below", Ground::of(name).folder())(error)),
    }
}

/// Does what who is at the other end asks, for containers whose names `is_name` knows; `enter` goes first where others see what is
/// mounted.
///
/// # Errors
/// When it is gone. Whether it may ask is for others to say.
pub fn answer(
    mut connection: UnixStream,
    is_name: impl Fn(&str) -> bool,
    enter: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let (request, root) = receive(&connection)?;
    let answer = match obey(&request, root, is_name, enter) {
        Ok(()) => DONE.to_owned(),
        Err(why) => {
            eprintln!("{}: {why}", request.trim_end());
            why
        }
    };
    connection.write_all(answer.as_bytes())
}

fn obey(
    request: &str,
    root: Option<OwnedFd>,
    is_name: impl Fn(&str) -> bool,
    enter: impl FnOnce() -> io::Result<()>,
) -> Result<(), String> {
    let words: Vec<&str> = request.strip_suffix('\n').unwrap_or_default().split(' ').collect();
    let known = words.get(1).is_some_and(|name| is_name(name));
    let entered = || enter().map_err(|error| format!("going where others see it: {error}"));
    let done = match (&words[..], root) {
        (&[LAY, name, label, data @ (KEPT | GONE)], Some(root)) if known => {
            entered()?;
            Ground::of(name).build(root, label, data == KEPT)
        }
        (&[CLEAR, name], None) if known => {
            entered()?;
            Ground::of(name).unmount()
        }
        _ => return Err("nobody does this".to_owned()),
    };
    done.map_err(|error| match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })
}

/// Asks whoever mounts for others; none where nobody does.
fn asked(request: &str, root: Option<&OwnedFd>) -> io::Result<Option<()>> {
    let connection = match UnixStream::connect(layout::node::MOUNTS_SOCKET) {
        Ok(connection) => connection,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    send(&connection, request, root)?;
    let mut answer = String::new();
    connection.take(ANSWER).read_to_string(&mut answer)?;
    match answer.as_str() {
        DONE => Ok(Some(())),
        "" => Err(io::Error::other("nobody answered; 'journalctl -u \"rocketos-mounts@*\"' says why")),
        why => Err(io::Error::other(why.to_owned())),
    }
}

fn send(connection: &UnixStream, request: &str, root: Option<&OwnedFd>) -> io::Result<()> {
    let descriptors = root.map(|root| [root.as_fd()]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if let Some(descriptors) = &descriptors {
        beside.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let sent = sendmsg(connection, &[IoSlice::new(request.as_bytes())], &mut beside, SendFlags::NOSIGNAL)?;
    match sent == request.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// A request, which comes in one piece with its descriptor (unix(7)).
fn receive(connection: &UnixStream) -> io::Result<(String, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; REQUEST];
    let received = recvmsg(connection, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let root = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let request = String::from_utf8(bytes[..received.bytes].to_vec());
    request.map(|request| (request, root)).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    /// What is answered to a request.
    fn said(request: &str, root: Option<&OwnedFd>, enter: fn() -> io::Result<()>) -> String {
        let (mut here, there) = UnixStream::pair().unwrap();
        let service = thread::spawn(move || answer(there, |name| name == "admin", enter));
        send(&here, request, root).unwrap();
        let mut answer = String::new();
        here.read_to_string(&mut answer).unwrap();
        service.join().unwrap().unwrap();
        answer
    }

    #[test]
    fn does_only_what_it_knows() {
        let file = OwnedFd::from(fs::File::open("/").unwrap());
        for (request, root) in [
            ("lay admin label kept\n", None),
            ("lay admin label kept", Some(&file)),
            ("lay admin label\n", Some(&file)),
            ("lay admin label both\n", Some(&file)),
            ("lay admin label kept more\n", Some(&file)),
            ("lay other label kept\n", Some(&file)),
            ("lay ../admin label kept\n", Some(&file)),
            ("clear other\n", None),
            ("clear admin\n", Some(&file)),
            ("reboot admin\n", None),
            ("\n", None),
        ] {
            assert_eq!(said(request, root, || unreachable!()), "nobody does this", "{request}");
        }
    }

    #[test]
    fn lays_nothing_but_a_mounted_image() {
        let proc = OwnedFd::from(fs::File::open("/proc").unwrap());
        assert!(said("lay admin label gone\n", Some(&proc), || Ok(())).contains("this is no image"));
    }

    #[test]
    fn mounts_nothing_where_nobody_sees_it() {
        let file = OwnedFd::from(fs::File::open("/").unwrap());
        let said = said("lay admin label gone\n", Some(&file), || Err(io::ErrorKind::PermissionDenied.into()));
        assert!(said.starts_with("going where others see it: "), "{said}");
    }
}

//! The first program of a host container: it becomes the program that the container's image names.
//!
//! With words of its own it becomes that program instead, as the same user with the same variables: so programs are started in a container
//! that runs. systemd has made the container's root, limits and domain before it is started. What the image says of itself, such as its command,
//! variables and user, is in one file beside it; no word of that passes through a unit. It has no libraries beside it, as an image
//! need not have any.

mod user;

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    os::{fd::AsFd, unix::process::CommandExt as _},
    path::Path,
    process::{Command, ExitCode},
};

use rocketos_model::{Process, layout::inside, limits};
use rustix::{
    fs::{Uid, fchown},
    process::ioctl_tiocsctty,
    termios::isatty,
};

use user::{User, UserError};

/// Where programs are looked for when the image says nothing.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What of the node's variables a container has too: how the network is left.
const TAKEN_OVER: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];
/// What of them it has where it has a terminal: what that is called.
const TERM: &str = "TERM";
/// What systemd calls a program that could not be started (systemd.exec(5), EXIT_EXEC).
const NOT_STARTED: u8 = 203;

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
enum EnterError {
    #[error("reading what is to be started")]
    Read(#[source] io::Error),
    #[error("reading what is to be started")]
    Format(#[source] serde_json::Error),
    #[error("the image names no program, and settings have no command")]
    Nothing,
    #[error("a word of what is to be started is no UTF-8")]
    Word,
    #[error("finding the user that the image names")]
    User(#[source] UserError),
    #[error("having the terminal as its own")]
    Terminal(#[source] io::Error),
    #[error("starting {program}")]
    Start { program: String, source: io::Error },
}

fn main() -> ExitCode {
    let Err(error) = enter(Path::new("/"), std::env::args_os().skip(1));
    let causes: Vec<String> = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    eprintln!("rocketos-enter: {}", causes.join(": "));
    ExitCode::from(NOT_STARTED)
}

/// Becomes the program, or the one that `instead` names; returns only where that fails.
fn enter(root: &Path, instead: impl Iterator<Item = OsString>) -> Result<std::convert::Infallible, EnterError> {
    let mut process = read(&root.join(inside::PROCESS))?;
    let instead: Vec<String> =
        instead.map(OsString::into_string).collect::<Result<_, _>>().map_err(|_| EnterError::Word)?;
    if !instead.is_empty() {
        process.args = instead;
    }
    let user = User::find(root, &process.user).map_err(EnterError::User)?;
    let mut command = command(&process, &user).ok_or(EnterError::Nothing)?;
    if has_terminal(io::stdin(), &user).map_err(EnterError::Terminal)? {
        command.envs(std::env::var_os(TERM).map(|term| (TERM, term)));
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(EnterError::Start { program, source: command.exec() })
}

fn read(path: &Path) -> Result<Process, EnterError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(EnterError::Read)?;
    file.take(2 * limits::CONFIG_BYTES).read_to_end(&mut bytes).map_err(EnterError::Read)?;
    serde_json::from_slice(&bytes).map_err(EnterError::Format)
}

/// What is started, as whom, with which variables; nothing where no program is named.
fn command(process: &Process, user: &User) -> Option<Command> {
    let (program, words) = process.args.split_first().filter(|(program, _)| !program.is_empty())?;
    let mut command = Command::new(program);
    command.args(words).env_clear();
    for name in TAKEN_OVER {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.env("HOME", &user.home);
    for (name, value) in [PATH].into_iter().chain(process.env.iter().map(String::as_str)).filter_map(variable) {
        command.env(name, value);
    }
    command.current_dir(if process.folder.is_empty() { "/" } else { &process.folder });
    // The user last: it may have to be root to come so far. Other groups are given up with it.
    command.gid(user.gid).uid(user.uid);
    Some(command)
}

/// Whether standard input is a terminal: then it is the one that signals come from, and its user's.
fn has_terminal(input: impl AsFd, user: &User) -> io::Result<bool> {
    if !isatty(&input) {
        return Ok(false);
    }
    // Where systemd has made it so already, the kernel says yes again.
    ioctl_tiocsctty(&input)?;
    if user.uid != 0 {
        fchown(&input, Some(Uid::from_raw(user.uid)), None)?;
    }
    Ok(true)
}

/// A variable's name and value; nothing where it is none.
fn variable(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::{ffi::OsStr, fs};

    use rustix::{
        fs::fstat,
        pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    };

    use super::*;

    fn process(args: &[&str]) -> Process {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        Process { args: texts(args), env: texts(&["A=1", "A=2", "=no", "no", "B=x=y\nz"]), ..Process::default() }
    }

    #[test]
    fn what_is_started_has_the_images_words_and_variables_as_they_are() {
        let user = User { uid: 1000, gid: 100, home: "/home/me".to_owned() };
        let command = command(&process(&["tool", "a b", "\"$x\"\n"]), &user).unwrap();
        assert_eq!(command.get_program(), "tool");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["a b", "\"$x\"\n"]);
        let value = |name: &str| command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value);
        for (name, expected) in [("A", "2"), ("B", "x=y\nz"), ("HOME", "/home/me"), ("PATH", &PATH[5..])] {
            assert_eq!(value(name), Some(OsStr::new(expected)), "{name}");
        }
        assert_eq!(command.get_current_dir(), Some(Path::new("/")));
    }

    /// Standard input of the test below is a terminal, in a session of its own.
    #[test]
    #[ignore = "what the next one starts"]
    fn has_its_own() {
        let user = |uid| User { uid, gid: 100, home: "/home/me".to_owned() };
        // Once more, as after systemd, changes nothing.
        for uid in [0, 1000] {
            assert!(has_terminal(io::stdin(), &user(uid)).unwrap());
        }
        File::open("/dev/tty").unwrap();
    }

    #[test]
    fn a_terminal_becomes_the_programs_own_and_its_users() {
        let how = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let ours = openpt(how).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ioctl_tiocgptpeer(&ours, how).unwrap();
        let root = User { uid: 0, gid: 0, home: "/".to_owned() };
        // Who leads no session has no terminal.
        has_terminal(&theirs, &root).unwrap_err();
        assert!(!has_terminal(tempfile::tempfile().unwrap(), &root).unwrap());
        let mut started = Command::new("setsid");
        started.arg("--wait").arg(std::env::current_exe().unwrap());
        started.args(["--exact", "tests::has_its_own", "--ignored"]).stdin(theirs.try_clone().unwrap());
        let said = started.output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
        assert_eq!(fstat(&theirs).unwrap().st_uid, 1000);
    }

    #[test]
    fn says_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".rocketos")).unwrap();
        let fails = |text: &str| {
            fs::write(root.path().join(inside::PROCESS), text).unwrap();
            let Err(error) = enter(root.path(), std::iter::empty());
            error.to_string()
        };
        let with = |args: &str, user: &str| format!(r#"{{"args":{args},"env":[],"folder":"","user":"{user}"}}"#);
        assert_eq!(fails("{"), "reading what is to be started");
        assert_eq!(fails(&with("[]", "")), "the image names no program, and settings have no command");
        assert_eq!(fails(&with("[\"\"]", "")), "the image names no program, and settings have no command");
        assert_eq!(fails(&with("[\"a\"]", "me")), "finding the user that the image names");
        assert_eq!(fails(&with("[\"/no/such/program\"]", "")), "starting /no/such/program");
        // Words of its own stand in the place of the image's.
        let Err(error) = enter(root.path(), ["/no/other", "a"].map(OsString::from).into_iter());
        assert_eq!(error.to_string(), "starting /no/other");
        let word = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
        let Err(error) = enter(root.path(), [word].into_iter());
        assert_eq!(error.to_string(), "a word of what is to be started is no UTF-8");
    }
}

//! Terminals: the one at which somebody sits, while it is a program's elsewhere, and those that are made for programs.
//!
//! Somebody's own is put back as it was on every way out: at the end, after an error, where a signal ends it ([`crate::api::Client::exec`]
//! waits for those), and after a panic. Nothing puts it back after `kill -KILL`; `reset` does.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    panic,
    sync::{Mutex, Once, PoisonError},
    time::{Duration, Instant},
};

use rocketos_api::wire::{Terminal, Window};
use rustix::{
    fs::{XattrFlags, fsetxattr},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{
        InputModes, OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
    },
};

/// What a terminal is called whose environment does not say.
const TERM: &str = "dumb";
/// The size of a window that nobody knows.
const WINDOW: Window = Window { columns: 80, rows: 24 };
/// Where a file's label stands.
const LABEL: &str = "security.selinux";
/// What leaves a program that does not: Ctrl-], as often, within so long.
const ESCAPE: (u8, usize, Duration) = (0x1d, 3, Duration::from_secs(1));

/// A terminal that is raw, and as it was before.
static BEFORE: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// Whether somebody sits at standard input and output.
pub fn is_somebodys() -> bool {
    isatty(io::stdin()) && isatty(io::stdout())
}

/// What a program elsewhere is told of the terminal here.
pub fn here() -> Terminal {
    let term = std::env::var("TERM").ok().filter(|term| !term.is_empty());
    Terminal { term: term.unwrap_or_else(|| TERM.to_owned()), window: window() }
}

/// The size of the window here.
pub fn window() -> Window {
    let known = [tcgetwinsize(io::stdout()), tcgetwinsize(io::stdin())].into_iter().flatten();
    let sizes = known.map(|size| Window { columns: size.ws_col, rows: size.ws_row });
    sizes.into_iter().find(|size| size.columns > 0 && size.rows > 0).unwrap_or(WINDOW)
}

/// The terminal here, raw: what is typed goes on as it is, Ctrl-C too. Dropped, it is as before.
pub struct Raw(());

impl Raw {
    /// Makes the terminal raw that `input` is; where it is none, there is nothing to do.
    ///
    /// # Errors
    /// When it cannot be made so.
    pub fn take(input: impl AsFd) -> io::Result<Option<Self>> {
        static HOOK: Once = Once::new();
        if !isatty(&input) {
            return Ok(None);
        }
        HOOK.call_once(|| {
            let told = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                put_back();
                told(panic);
            }));
        });
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        raw.make_raw();
        let own = input.as_fd().try_clone_to_owned()?;
        // Kept before anything is changed.
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some((own, before));
        let taken = Self(());
        tcsetattr(&input, OptionalActions::Now, &raw)?;
        Ok(Some(taken))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        put_back();
    }
}

fn put_back() {
    if let Some((terminal, before)) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    }
}

/// Looks for what leaves a program that does not end.
#[derive(Default)]
pub struct Escape {
    /// When each of the last ones came.
    typed: Vec<Instant>,
}

impl Escape {
    /// Whether these bytes, which came now, end it.
    pub fn is_in(&mut self, bytes: &[u8], now: Instant) -> bool {
        let (escape, times, within) = ESCAPE;
        bytes.iter().any(|byte| {
            if *byte == escape {
                self.typed.retain(|typed| now.duration_since(*typed) < within);
                self.typed.push(now);
            } else {
                self.typed.clear();
            }
            self.typed.len() >= times
        })
    }
}

/// A pseudo terminal.
pub struct Pair {
    /// The side of who passes on what is said.
    pub ours: OwnedFd,
    /// The program's.
    pub theirs: OwnedFd,
}

impl Pair {
    /// Makes one, with a window of this size; it bears `label`, where SELinux knows labels.
    ///
    /// # Errors
    /// When the kernel has no more, or does not allow it.
    pub fn new(window: Window, label: Option<&str>) -> io::Result<Self> {
        let how = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(how)?;
        unlockpt(&ours)?;
        let theirs = ioctl_tiocgptpeer(&ours, how)?;
        if let Some(label) = label {
            fsetxattr(&theirs, LABEL, label.as_bytes(), XattrFlags::empty())?;
        }
        let mut modes = tcgetattr(&theirs)?;
        // What is erased is a character, not a byte.
        modes.input_modes |= InputModes::IUTF8;
        tcsetattr(&theirs, OptionalActions::Now, &modes)?;
        let Window { columns, rows } = window;
        tcsetwinsize(&ours, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        Ok(Self { ours, theirs })
    }
}

#[cfg(test)]
mod tests {
    use rustix::termios::LocalModes;

    use super::*;

    fn echoes(terminal: &OwnedFd) -> bool {
        tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ISIG)
    }

    /// One test, as a process has one terminal at which somebody sits.
    #[test]
    fn a_terminal_is_raw_while_it_is_anothers_and_as_it_was_after_that() {
        let pair = Pair::new(WINDOW, None).unwrap();
        let mut own = tcgetattr(&pair.theirs).unwrap();
        own.local_modes.remove(LocalModes::ECHOE);
        tcsetattr(&pair.theirs, OptionalActions::Now, &own).unwrap();
        let before = format!("{:?}", tcgetattr(&pair.theirs).unwrap());
        let raw = Raw::take(&pair.theirs).unwrap();
        assert!(raw.is_some() && !echoes(&pair.theirs));
        drop(raw);
        assert_eq!(format!("{:?}", tcgetattr(&pair.theirs).unwrap()), before);
        // The hook does it, not the stack: a release build has none to unwind.
        let raw = Raw::take(&pair.theirs).unwrap();
        let kept = std::mem::ManuallyDrop::new(raw);
        std::thread::scope(|scope| scope.spawn(|| panic!("one that is meant")).join()).unwrap_err();
        assert_eq!(format!("{:?}", tcgetattr(&pair.theirs).unwrap()), before);
        drop(std::mem::ManuallyDrop::into_inner(kept));
        let file = tempfile::tempfile().unwrap();
        assert!(Raw::take(&file).unwrap().is_none());
    }

    #[test]
    fn a_terminal_has_the_window_that_is_asked_for() {
        let pair = Pair::new(Window { columns: 100, rows: 7 }, None).unwrap();
        let size = tcgetwinsize(&pair.theirs).unwrap();
        assert_eq!((size.ws_col, size.ws_row), (100, 7));
        assert!(tcgetattr(&pair.theirs).unwrap().input_modes.contains(InputModes::IUTF8));
    }

    #[test]
    fn who_types_it_three_times_in_a_second_leaves() {
        let now = Instant::now();
        let at = |milliseconds| now + Duration::from_millis(milliseconds);
        let leaves = |typed: &[(&[u8], u64)]| {
            let mut escape = Escape::default();
            typed.iter().any(|(bytes, when)| escape.is_in(bytes, at(*when)))
        };
        assert!(leaves(&[(b"\x1d\x1d\x1d", 0)]));
        assert!(leaves(&[(b"a\x1d", 0), (b"\x1d", 400), (b"\x1db", 900)]));
        assert!(leaves(&[(b"\x1d", 0), (b"\x1d", 900), (b"\x1d", 1100), (b"\x1d", 1200)]));
        assert!(!leaves(&[(b"\x1d", 0), (b"\x1d", 600), (b"\x1d", 1200)]));
        assert!(!leaves(&[(b"\x1d\x1da\x1d", 0)]));
    }
}

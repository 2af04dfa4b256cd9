//! The service's side of a program's pseudo terminal: what is done to it besides reading and writing.

use std::{io, os::fd::OwnedFd};

use rustix::termios::{SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize};

use crate::wire::Window;

/// A terminal.
pub(crate) struct Terminal(pub OwnedFd);

impl Terminal {
    /// What somebody types there to end the input.
    pub fn end_of_file(&self) -> io::Result<u8> {
        Ok(tcgetattr(&self.0)?.special_codes[SpecialCodeIndex::VEOF])
    }

    /// Gives its window this size; programs there are told by the kernel.
    pub fn resize(&self, window: Window) -> io::Result<()> {
        let Window { columns, rows } = window;
        Ok(tcsetwinsize(&self.0, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
    }
}

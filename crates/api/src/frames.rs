//! What is said over a connection that has become a program's: frames, one after the other, either way.
//!
//! ```text
//! frame = kind (1 byte), length (4 bytes, the highest first), so many bytes
//!
//! to the program    i  its standard input; of no length: that is all
//!                   w  the size of its terminal's window: columns and rows, 2 bytes each, the highest first
//! from it           o  its standard output; of no length: the service looks whether somebody is still there
//!                   e  its standard error
//!                   x  that it ended, with which code: 4 bytes, the highest first; the last frame
//!                   p  that it did not, and why: a problem (RFC 9457); the last frame
//! ```

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{Problem, wire::Window};

/// What a connection becomes, as `Upgrade` names it (RFC 9110, 7.8).
pub const PROTOCOL: &str = "rocketos-exec";
/// Bytes in a frame.
pub const FRAME_BYTES: usize = 64 << 10;

/// A frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// For standard input; empty at its end.
    Input(Vec<u8>),
    /// The window of its terminal has this size.
    Window(Window),
    /// From standard output.
    Output(Vec<u8>),
    /// From standard error.
    Error(Vec<u8>),
    /// It ended with this code.
    Ended(i32),
    /// It did not.
    Failed(Box<Problem>),
}

impl Frame {
    /// Reads the next one; none where the other side left.
    ///
    /// # Errors
    /// When the connection breaks, or what comes is no frame.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let kind = match from.read_u8().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        };
        let length = from.read_u32().await? as usize;
        if length > FRAME_BYTES {
            return wrong("a frame has more bytes than it may");
        }
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes).await?;
        let four: Result<[u8; 4], _> = bytes.as_slice().try_into();
        Ok(Some(match (kind, four) {
            (b'i', _) => Self::Input(bytes),
            (b'o', _) => Self::Output(bytes),
            (b'e', _) => Self::Error(bytes),
            (b'w', Ok([a, b, c, d])) => {
                Self::Window(Window { columns: u16::from_be_bytes([a, b]), rows: u16::from_be_bytes([c, d]) })
            }
            (b'x', Ok(code)) => Self::Ended(i32::from_be_bytes(code)),
            (b'p', _) => Self::Failed(serde_json::from_slice(&bytes)?),
            _ => return wrong("there is no such frame"),
        }))
    }

    /// Writes it; of more than a frame's bytes, several.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Input(bytes) => (b'i', bytes),
            Self::Output(bytes) => (b'o', bytes),
            Self::Error(bytes) => (b'e', bytes),
            Self::Window(Window { columns, rows }) => {
                let size = u32::from(*columns) << 16 | u32::from(*rows);
                return one(to, b'w', &size.to_be_bytes()).await;
            }
            Self::Ended(code) => return one(to, b'x', &code.to_be_bytes()).await,
            Self::Failed(problem) => {
                let mut problem = problem.clone();
                // Its words are for a person, who reads the beginning of them.
                problem.detail = problem.detail.chars().take(FRAME_BYTES / 16).collect();
                (problem.problems, problem.receipt) = (Vec::new(), None);
                return one(to, b'p', &serde_json::to_vec(&problem)?).await;
            }
        };
        if bytes.is_empty() {
            return one(to, kind, bytes).await;
        }
        for part in bytes.chunks(FRAME_BYTES) {
            one(to, kind, part).await?;
        }
        Ok(())
    }
}

/// One frame, at once: who waits for it waits for nothing else.
async fn one(to: &mut (impl AsyncWrite + Unpin), kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let frame: Vec<u8> = [kind].iter().chain(&length).chain(bytes).copied().collect();
    to.write_all(&frame).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn every_frame_is_read_as_it_is_written() {
        let problem = Problem::new(Kind::Failed, "ä".repeat(FRAME_BYTES));
        let frames = [
            Frame::Input(b"in\0".to_vec()),
            Frame::Input(Vec::new()),
            Frame::Window(Window { columns: 300, rows: 2 }),
            Frame::Output(vec![7; FRAME_BYTES]),
            Frame::Error(Vec::new()),
            Frame::Ended(-1),
            Frame::Ended(203),
            Frame::Failed(Box::new(problem)),
        ];
        runtime().block_on(async {
            let mut bytes = Vec::new();
            for frame in &frames {
                frame.write(&mut bytes).await.unwrap();
            }
            let mut from = bytes.as_slice();
            for frame in &frames[..frames.len() - 1] {
                assert_eq!(Frame::read(&mut from).await.unwrap().as_ref(), Some(frame));
            }
            let Some(Frame::Failed(problem)) = Frame::read(&mut from).await.unwrap() else { panic!() };
            assert_eq!((problem.kind, problem.detail.chars().next()), (Kind::Failed, Some('ä')));
            assert_eq!(Frame::read(&mut from).await.unwrap(), None);
            let mut long = Vec::new();
            Frame::Output(vec![1; FRAME_BYTES + 1]).write(&mut long).await.unwrap();
            assert_eq!(long.len(), FRAME_BYTES + 1 + 2 * 5);
        });
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        runtime().block_on(async {
            for bytes in [
                &b"z\0\0\0\0"[..],
                b"o\0\x01\0\x01",
                b"o\0\0\0\x02a",
                b"o\0",
                b"x\0\0\0\x01a",
                b"w\0\0\0\x01a",
                b"p\0\0\0\x01{",
            ] {
                assert!(Frame::read(&mut &bytes[..]).await.is_err(), "{bytes:?}");
            }
        });
    }
}

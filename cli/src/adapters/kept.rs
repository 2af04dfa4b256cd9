//! What programs say, of which the end is kept: what comes last says most.

use std::{collections::VecDeque, io::Read};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// The last bytes of what came.
#[derive(Debug)]
pub struct Kept {
    most: usize,
    bytes: VecDeque<u8>,
    /// How many came.
    pub came: u64,
}

impl Kept {
    /// At most so many.
    pub const fn of(most: usize) -> Self {
        Self { most, bytes: VecDeque::new(), came: 0 }
    }

    /// Takes everything in up to its end; where it breaks off, that is one.
    pub fn take_in(&mut self, mut from: impl Read) {
        let mut chunk = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            self.add(&chunk[..read]);
        }
    }

    /// Takes more in.
    pub fn add(&mut self, bytes: &[u8]) {
        self.came += bytes.len() as u64;
        self.bytes.extend(bytes);
        self.bytes.drain(..self.bytes.len().saturating_sub(self.most));
    }

    /// Adds a complaint on a line of its own, where there is one.
    pub fn say(&mut self, complaint: &str) {
        if !complaint.is_empty() {
            self.add(format!("\n{complaint}\n").as_bytes());
        }
    }

    /// What is kept.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_everything_counted() {
        let mut kept = Kept::of(5);
        kept.take_in("0123".as_bytes());
        kept.take_in("456789".as_bytes());
        assert_eq!((kept.came, kept.into_bytes()), (10, b"56789".to_vec()));
    }
}

//! Replays.
pub mod bytes;
pub mod disk;
pub mod fault;
pub mod log;

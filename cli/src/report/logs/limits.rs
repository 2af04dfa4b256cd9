//! What a report takes at most.

use std::time::Duration;

/// Bytes of a member.
pub const MEMBER_BYTES: u64 = 8 << 20;
/// Bytes of all members together.
pub const BYTES: u64 = 32 << 20;
/// Members, those that came to nothing among them.
pub const MEMBERS: usize = 1024;
/// Paths of one entry.
pub const PATHS: usize = 256;
/// Bytes of a path.
pub const PATH_BYTES: usize = 1024;
/// Bytes of a name.
pub const NAME_BYTES: usize = 64;
/// Lines of the journal.
pub const LINES: u32 = 100_000;
/// Boots that an entry may go back.
pub const BOOTS: i32 = 100;
/// Words of a command.
pub const WORDS: usize = 128;
/// How long a program may take.
pub const TIME: Duration = Duration::from_secs(60);
/// How long all of them may take together; then no other is started.
pub const TIME_OF_ALL: Duration = Duration::from_secs(300);

/// Bytes of a member, where nothing is said.
pub const fn usual_bytes() -> u64 {
    256 << 10
}

/// Lines, where nothing is said.
pub const fn usual_lines() -> u32 {
    2000
}

/// How long a program may take, where nothing is said.
pub const fn usual_time() -> Duration {
    Duration::from_secs(10)
}

//! What the journal is told besides what a unit prints: entries that programs find by their id.
//!
//! | constant | says |
//! |---|---|
//! | [`BEFORE_ITS_TURN`] | a release is taken before this node's turn |
//! | [`STAGED`] | a release boots next |
//! | [`REBOOTING`] | the node reboots into it by itself |
//! | [`KERNEL_SAW_DAMAGE`] | the kernel speaks of damage, and a scrub begins |
//! | [`SCRUBBED`] | a scrub found damage; what became of it |

use log::{Level, Record};
use systemd_journal_logger::JournalLog;

/// A release is taken before this node's turn.
pub const BEFORE_ITS_TURN: &str = "7e1f6c52b6a9473c8f2ad3b0c1d94e6a";
/// A release boots next.
pub const STAGED: &str = "3f0c9d8e5b7a4d21a6e4f19b72c85d03";
/// The node reboots into what boots next.
pub const REBOOTING: &str = "b95a2e7140c84f6db3d7e8a6f05c1b92";
/// The kernel speaks of damage, and a scrub begins.
pub const KERNEL_SAW_DAMAGE: &str = "8c2f4b61d7e94a0c95b13e60fa7d2c48";
/// A scrub found damage.
pub const SCRUBBED: &str = "d1c3b7a05e6f4f0f9b1c7f3a2e846d5b";

/// Writes an entry. Where no journal listens, nobody would have read it.
pub fn say(id: &str, text: &str, fields: &[(&str, &str)]) {
    let Ok(journal) = JournalLog::new() else { return };
    let extra = [("MESSAGE_ID", id)].into_iter().chain(fields.iter().copied());
    let journal = journal.with_extra_fields(extra).with_syslog_identifier("rocketctl".to_owned());
    // One that is gone meanwhile is no reason to stop.
    let _ = journal
        .journal_send(&Record::builder().level(Level::Info).target("rocketctl").args(format_args!("{text}")).build());
}

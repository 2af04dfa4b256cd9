//! What the journal is told besides what a unit prints: entries that programs find by their id.
//!
//! | constant | says |
//! |---|---|
//! | [`BEFORE_ITS_TURN`] | a release is taken before this node's turn |
//! | [`STAGED`] | a release boots next |
//! | [`REBOOTING`] | the node reboots into it by itself |
//! | [`GOOD`] | a release did its work until the end of its soak |
//! | [`RELEASE_FAILED`] | a release on trial failed |
//! | [`ROLLED_BACK`] | the deployment before boots next because of that |
//! | [`NO_WAY_BACK`] | there is none |
//! | [`UNHEALTHY`] | a release that proved itself before does not do its work |
//! | [`LOADER`] | the image's loader is tried, or kept |
//! | [`LOADER_FAILED`] | it did not come up |
//! | [`KERNEL_SAW_DAMAGE`] | the kernel speaks of damage, and a scrub begins |
//! | [`FIREWALL_LEFT_OUT`] | the firewall leaves a declaration out, because something is wrong with it |
//! | [`SETTINGS_LEFT_OUT`] | settings are not in force as they are stored |
//! | [`BOOTSTRAP_FAILED`] | something that is done before the node counts as configured failed |
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

/// The firewall leaves a declaration out.
pub const FIREWALL_LEFT_OUT: &str = "26e10af322794dbcaba377383474bf5d";

/// Settings are not in force as they are stored.
pub const SETTINGS_LEFT_OUT: &str = "b3d8e0a74c1f4f6c8e52a9d71f60b34d";

/// Something that is done before the node counts as configured failed.
pub const BOOTSTRAP_FAILED: &str = "4a6e0d9b7c3f4b1d8f25e6a1c07d93b8";

/// A release did its work until the end of its soak.
pub const GOOD: &str = "51c0d7b8a3e94f0f9a6b1e2d7c48f530";
/// A release on trial failed.
pub const RELEASE_FAILED: &str = "c6e4a90d2f1b4c77b0a85d93e61f7204";
/// The deployment before boots next because of that.
pub const ROLLED_BACK: &str = "0d95f3c7e8264ab1a7f06c4b9e2d8135";
/// There is none.
pub const NO_WAY_BACK: &str = "e2b7c1460fa94d8c8d3f5a0697e1b4c9";
/// A release that proved itself before does not do its work.
pub const UNHEALTHY: &str = "98a1f4d0b6c34e2f85c7d2e09b3f6a17";
/// The image's loader is tried, or kept.
pub const LOADER: &str = "6d2a81f5c0b74e93b8e1f4a7290d3c56";
/// It did not come up.
pub const LOADER_FAILED: &str = "f81b3d64e7a04c25916cd0e2b5f7a389";

/// Writes an entry. Where no journal listens, nobody would have read it.
pub fn say(id: &str, text: &str, fields: &[(&str, &str)]) {
    write(Level::Info, id, text, fields);
}

/// Writes one that people must not miss.
pub fn say_loudly(id: &str, text: &str, fields: &[(&str, &str)]) {
    write(Level::Error, id, text, fields);
}

fn write(level: Level, id: &str, text: &str, fields: &[(&str, &str)]) {
    let Ok(journal) = JournalLog::new() else { return };
    let extra = [("MESSAGE_ID", id)].into_iter().chain(fields.iter().copied());
    let journal = journal.with_extra_fields(extra).with_syslog_identifier("rocketctl".to_owned());
    // One that is gone meanwhile is no reason to stop.
    let _ =
        journal.journal_send(&Record::builder().level(level).target("rocketctl").args(format_args!("{text}")).build());
}

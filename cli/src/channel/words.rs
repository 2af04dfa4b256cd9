//! A decision, for people and programs.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use rocketos_update::{Decision, Release, Wait, Why};
use serde_json::{Value, json};

/// A decision about a channel.
#[derive(Debug)]
pub struct Words<'a>(pub &'a Decision<'a>);

/// A time as people and programs read it.
pub fn date(time: impl Into<DateTime<Utc>>) -> String {
    time.into().to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn share(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

impl Words<'_> {
    /// For programs.
    pub fn document(&self) -> Value {
        let release = |release: &Release| json!({ "version": release.version, "manifestDigest": release.digest });
        match self.0 {
            Decision::UpToDate => json!({ "decision": "up-to-date" }),
            Decision::Stuck { reason } => json!({ "decision": "stuck", "recalled": reason }),
            Decision::Take { release: taken, why } => json!({
                "decision": "take",
                "release": release(taken),
                "recalled": match why { Why::Recalled(reason) => Some(*reason), Why::Newer => None },
            }),
            Decision::Wait { release: awaited, wait } => {
                let lock = if let Wait::Locked(lock) = wait { Some(*lock) } else { None };
                let (what, position, open, turn, earliest) = match wait {
                    Wait::Turn { at, position, open } => ("turn", Some(*position), Some(*open), at.map(date), None),
                    Wait::Halted => ("halted", None, None, None, None),
                    Wait::Failed => ("failed", None, None, None, None),
                    Wait::Barrier(earliest) => ("barrier", None, None, None, Some(*earliest)),
                    Wait::RolledBack => ("rolled-back", None, None, None, None),
                    Wait::Locked(_) => ("locked", None, None, None, None),
                };
                json!({
                    "decision": "wait", "release": release(awaited), "waitsFor": what,
                    "position": position, "open": open, "turn": turn, "earliest": earliest, "lock": lock,
                })
            }
        }
    }
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Decision::UpToDate => write!(f, "nothing newer"),
            Decision::Stuck { reason } => {
                write!(f, "what boots next was recalled ({reason}), and the channel has nothing to go to")
            }
            Decision::Take { release, why: Why::Newer } => write!(f, "{} is to be taken", release.version),
            Decision::Take { release, why: Why::Recalled(reason) } => {
                write!(f, "what boots next was recalled ({reason}): {} is to be taken in its place", release.version)
            }
            Decision::Wait { release, wait } => {
                write!(f, "{} waits: ", release.version)?;
                match wait {
                    Wait::Turn { at, position, open } => {
                        match at {
                            Some(at) => write!(f, "this node's turn comes {}", date(*at))?,
                            None => write!(f, "this node's turn does not come as its publisher opened it so far")?,
                        }
                        let (position, open) = (share(*position), share(*open));
                        write!(
                            f,
                            ", when it is open to more than {position} of the fleet, now to {open} (--now ignores this)"
                        )
                    }
                    Wait::Halted => write!(f, "its publisher halted it"),
                    Wait::Failed => write!(f, "it failed here (--retry tries it again)"),
                    Wait::Barrier(earliest) => {
                        write!(f, "it may be taken from {earliest} on, which this channel does not lead to from here")
                    }
                    Wait::Locked(lock) => write!(f, "this node takes {lock} alone (version-lock in update.toml)"),
                    Wait::RolledBack => write!(f, "it was left by hand ('rocketctl upgrade' takes it again)"),
                }
            }
        }
    }
}

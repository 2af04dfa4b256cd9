//! What a node does now about its channel.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rocketos_model::ManifestDigest;
use serde::{Deserialize, Serialize};

use crate::{Channel, Release, Version, wave};

/// The newest release a node ever accepted from the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its version.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: ManifestDigest,
}

/// Everything of a node that matters.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// Its machine-id.
    pub machine_id: &'a str,
    /// The variant it runs.
    pub variant: &'a str,
    /// Its architecture, in OCI's words.
    pub architecture: &'a str,
    /// The version that runs; absent where the image has none.
    pub version: Option<&'a Version>,
    /// The manifest that runs.
    pub digest: ManifestDigest,
    /// The newest release it accepted, whatever runs now; absent on a node that was never on a channel.
    pub accepted: Option<&'a Accepted>,
    /// Releases that failed here.
    pub failed: &'a BTreeSet<ManifestDigest>,
    /// Its place in every curve, of [`wave::PLACES`]; by its identity where absent.
    pub place: Option<u16>,
    /// The only version that it takes; any where absent.
    pub lock: Option<&'a Version>,
}

/// What the caller was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Take it before this node's turn.
    pub now: bool,
    /// Try again what failed here.
    pub retry: bool,
    /// A person asks: what was rolled back by hand may be taken again.
    pub by_hand: bool,
}

/// Why a release is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why<'a> {
    /// It is newer than what was accepted.
    Newer,
    /// What runs, or was accepted last, is recalled, for this reason.
    Recalled(&'a str),
}

/// What a release waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wait<'a> {
    /// The node's turn.
    Turn {
        /// When it comes; never, where the curve ends before.
        at: Option<DateTime<Utc>>,
        /// The node's position, 0 to 1.
        position: f64,
        /// The share that is open now.
        open: f64,
    },
    /// Its publisher halted it.
    Halted,
    /// It failed here.
    Failed,
    /// Only what is at least this version may take it.
    Barrier(&'a Version),
    /// It was left by hand.
    RolledBack,
    /// The node takes this version alone.
    Locked(&'a Version),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision<'a> {
    /// Take this release.
    Take {
        /// Which.
        release: &'a Release,
        /// Why.
        why: Why<'a>,
    },
    /// Stay with what runs, for now.
    Wait {
        /// The newest release there would be.
        release: &'a Release,
        /// What for.
        wait: Wait<'a>,
    },
    /// What runs is recalled, and there is nothing to go to.
    Stuck {
        /// Why it is recalled.
        reason: &'a str,
    },
    /// There is nothing newer.
    UpToDate,
}

/// Decides.
///
/// A release is a candidate when it is of the node's variant and architecture and not recalled; never one older than the newest
/// accepted, unless that one is recalled. Of the candidates that may be taken now the newest is; where none may, the
/// newest candidate says what it waits for.
pub fn decide<'a>(channel: &'a Channel, node: &Node<'a>, wish: Wish, now: DateTime<Utc>) -> Decision<'a> {
    let ours = || {
        channel
            .releases
            .iter()
            .filter(|release| release.variant == node.variant && release.architecture == node.architecture)
    };
    let recall = |digest: &ManifestDigest| {
        ours().find(|release| release.digest == *digest).and_then(|release| release.recalled.as_deref())
    };
    let running_recalled = recall(&node.digest);
    // Nothing older than this, or as old. What was accepted and recalled since is no measure: what runs is.
    let accepted = node.accepted.filter(|accepted| recall(&accepted.digest).is_none());
    let measure = accepted
        .map(|accepted| (&accepted.version, accepted.digest))
        .or_else(|| node.version.map(|running| (running, node.digest)));
    let mut candidates: Vec<_> = ours().filter(|release| release.recalled.is_none()).collect();
    candidates.sort_by(|a, b| b.version.cmp(&a.version));

    let mut waiting = None;
    for release in candidates {
        if release.digest == node.digest {
            // What runs is the best there is.
            break;
        }
        // Leaving what is recalled comes before everything, even where it leads to an older one.
        let why = running_recalled.map_or(Why::Newer, Why::Recalled);
        if why == Why::Newer {
            let left_by_hand = measure.is_some_and(|(_, digest)| digest == release.digest);
            let newer = measure.is_none_or(|(version, _)| release.version > *version);
            if left_by_hand && !wish.by_hand {
                let failed = node.failed.contains(&release.digest);
                waiting.get_or_insert((release, if failed { Wait::Failed } else { Wait::RolledBack }));
                break;
            }
            if !left_by_hand && !newer {
                break;
            }
        }
        match obstacle(release, node, wish, why, now) {
            None => return Decision::Take { release, why },
            Some(wait) => {
                waiting.get_or_insert((release, wait));
            }
        }
    }
    match (waiting, running_recalled) {
        (Some((release, wait)), _) => Decision::Wait { release, wait },
        (None, Some(reason)) => Decision::Stuck { reason },
        (None, None) => Decision::UpToDate,
    }
}

/// What keeps a candidate from being taken now.
fn obstacle<'a>(
    release: &'a Release,
    node: &Node<'a>,
    wish: Wish,
    why: Why<'a>,
    now: DateTime<Utc>,
) -> Option<Wait<'a>> {
    // Whoever locked the node meant it, whatever is recalled.
    if let Some(lock) = node.lock.filter(|lock| **lock != release.version) {
        return Some(Wait::Locked(lock));
    }
    // A way back leads to what could be reached before.
    let forward = node.version.is_none_or(|running| release.version > *running);
    if let Some(earliest) = &release.earliest
        && forward
        && node.version.is_none_or(|running| running < earliest)
    {
        return Some(Wait::Barrier(earliest));
    }
    if node.failed.contains(&release.digest) && !wish.retry {
        return Some(Wait::Failed);
    }
    if release.halted {
        return Some(Wait::Halted);
    }
    if wish.now || why != Why::Newer {
        return None;
    }
    let position = node.place.map_or_else(|| wave::position(node.machine_id, &release.digest), wave::place);
    let open = release.curve.share(now - release.published);
    if open > position {
        return None;
    }
    let at = release.curve.turn(position).and_then(|after| release.published.checked_add_signed(after));
    Some(Wait::Turn { at, position, open })
}

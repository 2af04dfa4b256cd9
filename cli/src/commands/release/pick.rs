//! `release open`, `halt`, `resume`, `recall` and `retire`.

use anyhow::ensure;
use chrono::SubsecRound as _;
use rocketos_update::{Curve, Release};

use super::opening;
use crate::{
    args::{Open, Pick, Recall},
    publisher::Publisher,
};

/// Drafts that a release opens otherwise than it was said to.
pub fn open(args: &Open) -> anyhow::Result<()> {
    let curve = args.curve.as_deref().map_or_else(|| Ok(Curve::at_once()), opening::curve)?;
    change(&args.pick, "opens like this already", |release| {
        let published = args.published.map_or(release.published, |time| time.trunc_subsecs(0));
        let before = (std::mem::replace(&mut release.curve, curve.clone()), release.published);
        release.published = published;
        before != (curve.clone(), published)
    })
}

/// Drafts that nodes which have not taken a release wait.
pub fn halt(args: &Pick) -> anyhow::Result<()> {
    change(args, "is halted already", |release| !std::mem::replace(&mut release.halted, true))
}

/// Drafts that they wait no longer.
pub fn resume(args: &Pick) -> anyhow::Result<()> {
    change(args, "is not halted", |release| std::mem::replace(&mut release.halted, false))
}

/// Drafts that nodes which have a release leave it.
pub fn recall(args: &Recall) -> anyhow::Result<()> {
    ensure!(!args.reason.trim().is_empty(), "--reason says nothing, and nodes repeat it");
    change(&args.pick, "is recalled already, for this reason", |release| {
        let reason = Some(args.reason.clone());
        std::mem::replace(&mut release.recalled, reason.clone()) != reason
    })
}

/// Drafts that a channel names a release no more. Nodes that have it keep it, recalled or not, until something newer comes:
/// the newest one stays.
pub fn retire(args: &Pick) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(&args.desk.dir)?;
    let mut channel = publisher.existing_channel(&args.channel)?;
    let version = opening::version(&args.version)?;
    opening::of_version(&mut channel.releases, &version, &args.channel)?;
    let newer = channel.releases.iter().any(|other| other.version > version && other.recalled.is_none());
    ensure!(newer, "{version} is the newest in channel {} that is not recalled; 'release halt' stops it", args.channel);
    channel.releases.retain(|release| release.version != version);
    let lost = publisher.draft_channel(&channel)?;
    publisher.finish(lost, args.desk.json)
}

/// Changes each release of a version; `change` says whether it did.
fn change(args: &Pick, otherwise: &str, change: impl Fn(&mut Release) -> bool) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(&args.desk.dir)?;
    let mut channel = publisher.existing_channel(&args.channel)?;
    let version = opening::version(&args.version)?;
    let mut changed = false;
    for release in opening::of_version(&mut channel.releases, &version, &args.channel)? {
        changed |= change(release);
    }
    ensure!(changed, "{version} in channel {} {otherwise}", args.channel);
    let lost = publisher.draft_channel(&channel)?;
    publisher.finish(lost, args.desk.json)
}

//! `release promote`.

use anyhow::{bail, ensure};
use rocketos_update::{Channel, Release};

use super::opening;
use crate::{args::Promote, publisher::Publisher};

/// Drafts the releases of a version in another channel.
pub fn run(args: &Promote) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(&args.desk.dir)?;
    let mut from = publisher.existing_channel(&args.from)?;
    let mut to = publisher.channel(&args.to)?.unwrap_or_else(|| Channel::new(&args.to));
    ensure!(args.from != args.to, "--from and --to are one channel");
    let (curve, published) = opening::terms(&args.terms)?;
    let version = opening::version(&args.version)?;
    for release in opening::of_version(&mut from.releases, &version, &args.from)? {
        if let Some(reason) = &release.recalled {
            bail!("{version} is recalled in channel {}: {reason}", args.from);
        }
        ensure!(!release.halted, "{version} is halted in channel {}; 'release resume' lets it go on", args.from);
        let there = to.releases.iter().any(|other| other.is_same(release));
        ensure!(!there, "channel {} has {version} {} {} already", args.to, release.variant, release.architecture);
        to.releases.push(Release { curve: curve.clone(), published, ..release.clone() });
    }
    let lost = publisher.draft_channel(&to)?;
    publisher.finish(lost, args.desk.json)
}

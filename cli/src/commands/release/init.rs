//! `release init`.

use std::time::SystemTime;

use anyhow::ensure;
use rocketos_trust::tuf::author::{Key, RootDocument, Top};

use crate::{
    args::Init,
    keys,
    publisher::{Publisher, Settings},
};

/// Drafts the first root, and an empty targets document.
pub fn run(args: &Init) -> anyhow::Result<()> {
    let mut settings = Settings::default();
    for days in &args.days {
        settings.set(days.role, days.number)?;
    }
    let mut root = RootDocument::new(1, SystemTime::now());
    for (role, specs) in [
        (Top::Root, &args.root_key),
        (Top::Targets, &args.targets_key),
        (Top::Snapshot, &args.snapshot_key),
        (Top::Timestamp, &args.timestamp_key),
    ] {
        for spec in specs {
            root.add(role, Key::new(keys::public(spec)?))?;
        }
    }
    for (at, threshold) in args.threshold.iter().enumerate() {
        let twice = args.threshold[..at].iter().any(|other| other.role == threshold.role);
        ensure!(!twice, "--threshold says twice how many sign for {}", threshold.role);
        root.set_threshold(threshold.role, threshold.number);
    }
    let mut publisher = Publisher::create(&args.desk.dir, settings)?;
    publisher.draft_root(root)?;
    let expires = publisher.settings.expiry(Top::Targets, SystemTime::now())?;
    publisher.repository.draft_targets(Vec::new(), expires)?;
    publisher.finish(0, args.desk.json)?;
    publisher.save_settings()
}

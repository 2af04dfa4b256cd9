//! `release rotate-keys`.

use anyhow::ensure;
use rocketos_trust::tuf::author::Key;

use crate::{args::RotateKeys, keys, publisher::Publisher};

/// Drafts the next root.
pub fn run(args: &RotateKeys) -> anyhow::Result<()> {
    let nothing = args.add.is_empty() && args.remove.is_empty() && args.threshold.is_none();
    ensure!(!nothing, "say what is to change: --add, --remove or --threshold");
    let mut publisher = Publisher::open(&args.desk.dir)?;
    let mut root = publisher.repository.root()?;
    for name in &args.remove {
        root.remove(args.role, name)?;
    }
    for spec in &args.add {
        root.add(args.role, Key::new(keys::public(spec)?))?;
    }
    if let Some(threshold) = args.threshold {
        root.set_threshold(args.role, threshold);
    }
    let lost = publisher.draft_root(root)?;
    publisher.finish(lost, args.desk.json)
}

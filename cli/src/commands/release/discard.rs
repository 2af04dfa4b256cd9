//! `release discard`.

use anyhow::ensure;

use crate::{args::Discard, publisher::Publisher};

/// Drops what is drafted.
pub fn run(args: &Discard) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(&args.desk.dir)?;
    ensure!(publisher.repository.published_root()?.is_some(), "nothing is published yet: remove the directory instead");
    publisher.repository.discard();
    publisher.finish(0, args.desk.json)
}

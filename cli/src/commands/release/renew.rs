//! `release renew`.

use std::time::SystemTime;

use anyhow::bail;
use rocketos_trust::tuf::author::Top;

use crate::{args::Renew, publisher::Publisher};

/// Drafts a document that holds for longer.
pub fn run(args: &Renew) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(&args.desk.dir)?;
    let lost = match args.role {
        Top::Root => {
            let root = publisher.repository.root()?;
            publisher.draft_root(root)?
        }
        Top::Targets => {
            publisher.repository.root()?;
            let expires = publisher.settings.expiry(Top::Targets, SystemTime::now())?;
            publisher.repository.draft_targets(Vec::new(), expires)?
        }
        role => bail!("{role} is renewed by each 'release publish'"),
    };
    publisher.finish(lost, args.desk.json)
}

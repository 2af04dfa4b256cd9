//! `release collect`.

use anyhow::ensure;

use crate::{
    args::Collect,
    publisher::{Publisher, Report},
};

/// Takes the signatures in copies of the directory. They are over the same bytes, or none of ours.
pub fn run(args: &Collect) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(&args.desk.dir)?;
    for copy in &args.copies {
        let other = Publisher::open(copy)?;
        let found = publisher.repository.collect(&other.repository);
        ensure!(found > 0, "{} has no signature of this draft that is not here yet", copy.display());
    }
    publisher.save_draft()?;
    Report::new(&publisher.repository, 0)?.print_signatures(args.desk.json);
    Ok(())
}

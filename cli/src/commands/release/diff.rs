//! `release diff`.

use crate::{
    args::Diff,
    publisher::{Publisher, Report},
};

/// Says what is drafted.
pub fn run(args: &Diff) -> anyhow::Result<()> {
    let publisher = Publisher::open(&args.desk.dir)?;
    Report::new(&publisher.repository, 0)?.print(args.desk.json);
    Ok(())
}

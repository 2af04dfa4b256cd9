//! Every state a power cut may leave, of recorded operations.

use anyhow::Result;
use rocketos_tests::fixture::Fixture;
use rocketos_tests::{Progress, paths};

use crate::record;

#[test]
fn every_state_is_the_old_release_or_the_new_one() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let folder = paths::work().join("crash-keep");
    std::fs::create_dir_all(&folder)?;
    let recorded = record::record(&fixture, &progress, &folder)?;
    println!("{recorded:?}");
    Ok(())
}

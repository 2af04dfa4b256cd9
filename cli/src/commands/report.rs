//! `report`.

use std::fs;

use anyhow::Context as _;

use crate::{
    args::{Report, ReportBoot},
    report,
};

/// Draws what was asked for.
pub fn run(Report::Boot(ReportBoot { boot, output, json }): &Report) -> anyhow::Result<()> {
    let boot = report::boot(*boot)?;
    if *json {
        println!("{}", boot.document().context("writing the numbers")?);
        return Ok(());
    }
    let picture = report::picture(&boot);
    match output {
        Some(file) => fs::write(file, picture).with_context(|| format!("writing {}", file.display())),
        None => {
            print!("{picture}");
            Ok(())
        }
    }
}

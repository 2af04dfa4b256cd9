//! `health`.

use anyhow::anyhow;
use serde_json::json;

use crate::{
    args::Health,
    health::{self, Unhealthy},
};

/// Makes the checks, or says what they came to last. That something required did not pass is an error besides.
pub fn run(args: &Health) -> anyhow::Result<()> {
    let report = match args.last {
        true => health::newest().ok_or_else(|| anyhow!("no checks were made since boot"))?,
        false => health::now()?,
    };
    match args.json {
        true => println!("{}", json!({ "good": report.is_good(), "checks": report.checks })),
        false => report.checks.iter().for_each(|result| println!("{result}")),
    }
    match report.is_good() {
        true => Ok(()),
        false => Err(Unhealthy(report.reason()).into()),
    }
}

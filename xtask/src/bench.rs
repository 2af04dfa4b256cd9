//! `bench`: has `xtask/bench` measure, once its libraries are there.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Result;
use rocketos_tests::command::Run;
use rocketos_tests::{Progress, Tools};

/// What all measurements may take.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What `rocketos-bench` takes; `--help` behind `--` says what that is.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Measures.
pub fn run(args: &Args) -> Result<()> {
    Tools::ensure(&Progress::new())?;
    let bench = Run::new("cargo").args(["run", "--quiet", "--release", "--package", "rocketos-bench", "--"]);
    bench.args(&args.arguments).limit(LIMIT).attached()
}

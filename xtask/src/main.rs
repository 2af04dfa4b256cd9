//! Commands of the workspace: `cargo xtask <verb>`. One file per verb; this one only dispatches.

mod bench;
mod check;
mod demo;
mod disk;
mod image;
mod run;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build two releases, install the first, upgrade to the second over the network, and roll back.
    Demo(demo::Args),
    /// Run all tests: of units and commands, of images, of machines.
    Test(test::Args),
    /// Check format, lints, floors, sizes, licences, what units expose, and that promises have tests.
    Check(check::Args),
    /// Build a release of a variant, or the image of a host container.
    Image(image::Args),
    /// Make a disk of an image, without root or loop devices.
    Disk(disk::Args),
    /// Boot a disk on this terminal.
    Run(run::Args),
    /// Measure.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().verb {
        Verb::Demo(args) => demo::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Image(args) => image::run(&args),
        Verb::Disk(args) => disk::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Bench(args) => bench::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

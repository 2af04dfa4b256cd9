//! `rocketctl` installs, upgrades, proves and rolls back Rocket OS.

mod adapters;
mod args;
mod commands;
mod exit;
mod host;
mod output;
mod pull;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rocketctl: {}", exit::chain(&error));
            exit::code(&error)
        }
    }
}

//! `rocketctl` installs, upgrades, proves and rolls back Rocket OS.

mod adapters;
mod advance;
mod api;
mod args;
mod automatic;
mod bootstrap;
mod bring;
mod channel;
mod commands;
mod config;
mod configure;
mod exit;
mod firewall;
mod health;
mod host;
mod host_containers;
mod journal;
mod keyring;
mod keys;
mod loader;
#[cfg(test)]
mod machine;
mod metrics;
mod output;
mod publisher;
mod pull;
mod report;
mod scrub;
mod terminal;
mod trust;
mod updater;
mod user_data;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Layers come in on several threads, and what they leave serves the image that is made of them.
    rocketos_deploy::share_one_heap();
    let args = args::Args::parse();
    let done = updater::ask(&args).and_then(|asked| match asked {
        Some(code) => Ok(code),
        None => commands::run(args),
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rocketctl: {}", exit::chain(&error));
            exit::code(&error)
        }
    }
}

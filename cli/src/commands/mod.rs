//! One file per verb.

mod api;
mod completions;
mod exec;
mod firewall;
mod firmware;
mod follow;
mod health;
mod image;
mod install;
mod internal;
mod kargs;
mod keys;
mod pin;
mod prune;
mod release;
mod report;
mod rollback;
mod scrub;
mod selinux;
mod settings;
mod status;
mod verify;

use std::process::ExitCode;

pub use prune::report as report_pruned;

use crate::args::{Args, Verb};

/// Does what was asked, and says what to end with.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let done = match args.verb {
        Verb::Exec(verb) => return exec::run(&verb),
        Verb::Install(verb) => install::run(&verb),
        Verb::Upgrade(verb) => follow::upgrade(&verb),
        Verb::Switch(verb) => follow::switch(&verb),
        Verb::Rollback(verb) => rollback::run(&verb),
        Verb::Status(verb) => status::run(&verb),
        Verb::Pin(verb) => pin::pin(&verb),
        Verb::Unpin(verb) => pin::unpin(&verb),
        Verb::Prune(verb) => prune::run(&verb),
        Verb::Health(verb) => health::run(&verb),
        Verb::Firewall(verb) => firewall::run(&verb),
        Verb::Scrub(verb) => scrub::run(&verb),
        Verb::Verify(verb) => verify::run(&verb),
        Verb::Settings(verb) => settings::run(&verb),
        Verb::Api(verb) => api::run(&verb),
        Verb::Selinux(verb) => selinux::run(&verb),
        Verb::Image(verb) => image::run(&verb),
        Verb::Report(verb) => report::run(&verb),
        Verb::Release(verb) => release::run(&verb),
        Verb::Keys(verb) => keys::run(&verb),
        Verb::Kargs(verb) => kargs::run(&verb),
        Verb::Completions { shell } => completions::completions(shell),
        Verb::Man { directory } => completions::man(&directory),
        Verb::Internal(verb) => internal::run(&verb),
    };
    done.map(|()| ExitCode::SUCCESS)
}

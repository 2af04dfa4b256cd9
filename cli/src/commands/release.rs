//! `release`: what people who publish releases need.

mod add;
mod collect;
mod diff;
mod discard;
mod init;
mod opening;
mod pick;
mod plot;
mod policy;
mod promote;
mod publish;
mod renew;
mod rotate_keys;
mod show;
mod sign;
mod simulate;

use crate::args::Release;

/// Does it.
pub fn run(verb: &Release) -> anyhow::Result<()> {
    match verb {
        Release::Init(args) => init::run(args),
        Release::Add(args) => add::run(args),
        Release::Promote(args) => promote::run(args),
        Release::Open(args) => pick::open(args),
        Release::Halt(args) => pick::halt(args),
        Release::Resume(args) => pick::resume(args),
        Release::Recall(args) => pick::recall(args),
        Release::Retire(args) => pick::retire(args),
        Release::Policy(args) => policy::run(args),
        Release::RotateKeys(args) => rotate_keys::run(args),
        Release::Renew(args) => renew::run(args),
        Release::Diff(args) => diff::run(args),
        Release::Sign(args) => sign::run(args),
        Release::Collect(args) => collect::run(args),
        Release::Discard(args) => discard::run(args),
        Release::Publish(args) => publish::run(args),
        Release::Show(args) => show::run(args),
        Release::Simulate(args) => simulate::run(args),
    }
}

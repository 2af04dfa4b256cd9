//! The updater: the service in which a node is changed, and the client that every `rocketctl` on a node is.
//!
//! systemd listens on [`SOCKET`] and starts `rocketctl internal serve` for each connection, in the domain that alone writes
//! store and ESP. The service asks the kernel who is there and the policy whether they may, runs the verb as a program
//! of its own, and sends back what it prints, its progress and its exit code; a client that goes away ends it as Ctrl-C
//! would. Where nothing listens (an installer, a builder), and in that domain itself, verbs are run at once.

mod client;
mod domain;
mod own;
mod protocol;
mod service;

pub use client::{Done, Unanswered, ask, have_done};
pub use domain::{Asks, asked_by};
pub use own::answer as answer_own;
pub use service::serve;

use crate::args::{Kargs, Keys, Progress, Verb};

/// Where the service is asked.
const SOCKET: &str = "/run/rocketos/updater.sock";

/// Whether the service does this, being a change of this node.
fn is_changed_by(verb: &Verb) -> bool {
    match verb {
        Verb::Upgrade(_)
        | Verb::Switch(_)
        | Verb::Rollback(_)
        | Verb::Pin(_)
        | Verb::Unpin(_)
        | Verb::Prune(_)
        | Verb::Scrub(_)
        | Verb::Kargs(Kargs::Add { .. } | Kargs::Remove { .. })
        | Verb::Keys(Keys::Apply(_)) => true,
        Verb::Install(_)
        | Verb::Status(_)
        | Verb::Health(_)
        | Verb::Firewall(_)
        | Verb::Verify(_)
        | Verb::Selinux(_)
        | Verb::Image(_)
        | Verb::Report(_)
        | Verb::Release(_)
        | Verb::Settings(_)
        | Verb::Api(_)
        | Verb::Exec(_)
        | Verb::Keys(_)
        | Verb::Kargs(_)
        | Verb::Completions { .. }
        | Verb::Man { .. }
        | Verb::Internal(_) => false,
    }
}

/// Whether the service does this: changes, and saying how the node stands, for whoever may not look at disks.
fn is_served(verb: &Verb) -> bool {
    is_changed_by(verb) || matches!(verb, Verb::Status(_))
}

/// How a verb shows its progress, if it does.
fn progress_of(verb: &Verb) -> Option<&Progress> {
    match verb {
        Verb::Upgrade(verb) => Some(&verb.progress),
        Verb::Switch(verb) => Some(&verb.progress),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn it_serves_changes_and_says_how_the_node_stands_and_nothing_else() {
        let verb = |line: &str| Args::try_parse_from(line.split(' ')).map(|args| args.verb).unwrap();
        for (line, changes, served) in [
            ("rocketctl upgrade --check", true, true),
            ("rocketctl rollback --to aa", true, true),
            ("rocketctl status --json", false, true),
            ("rocketctl health", false, false),
            ("rocketctl settings get", false, false),
            ("rocketctl internal api", false, false),
        ] {
            assert_eq!((is_changed_by(&verb(line)), is_served(&verb(line))), (changes, served), "{line}");
        }
    }
}

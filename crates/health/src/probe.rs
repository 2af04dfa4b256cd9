//! Looking once.

mod http;
mod mount;
mod network;

use std::{future::Future, path::Path, time::Duration};

use tokio::time;

use crate::{Check, Kind, Outcome, limits};

/// There since systemd-timesyncd synchronised the clock in this boot.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// True where it ended well.
    pub success: bool,
    /// How it ended, and the end of what it wrote.
    pub words: String,
}

/// Who starts programs.
pub trait Programs: Send + Sync + 'static {
    /// The `ActiveState` of a unit; why not, where systemd does not say.
    fn unit_state(&self, unit: &str) -> impl Future<Output = Result<String, String>> + Send;

    /// Looks at the network for a check, with [`look`] where there is a network; why not, where nobody can.
    fn look(&self, check: &Check) -> impl Future<Output = Result<Outcome, String>> + Send;

    /// Runs a program to its end, which is brought about after `limit`; why not, where it cannot start.
    fn run(&self, command: &[String], limit: Duration) -> impl Future<Output = Result<Ended, String>> + Send;

    /// The same in a host container; why not, too, where that does not run.
    fn run_in(
        &self,
        container: &str,
        command: &[String],
        limit: Duration,
    ) -> impl Future<Output = Result<Ended, String>> + Send;
}

/// Looks once.
pub(crate) async fn probe<P: Programs>(check: &Check, programs: &P) -> Outcome {
    match &check.kind {
        Kind::Unit { unit, state } => match programs.unit_state(unit).await {
            Ok(found) if found == *state => Outcome::Passed,
            Ok(found) => Outcome::Failed(format!("{unit} is {found}, not {state}")),
            Err(problem) => Outcome::NotRun(problem),
        },
        Kind::Http { .. } | Kind::Tcp { .. } | Kind::Resolve { .. } => {
            programs.look(check).await.unwrap_or_else(Outcome::NotRun)
        }
        Kind::Mount { path, free } => mount::probe(path, *free),
        Kind::DefaultRoute {} => network::default_route(),
        Kind::TimeSynchronised {} => match Path::new(SYNCHRONISED).exists() {
            true => Outcome::Passed,
            false => Outcome::Failed("the clock was not synchronised since boot".to_owned()),
        },
        Kind::Command { command } => ended(&command[0], programs.run(command, check.timeout).await),
        Kind::HostContainer { container, command } => {
            ended(&command[0], programs.run_in(container, command, check.timeout).await)
        }
    }
}

/// What an attempt may take. A look at the network has its own limit, and whoever is asked for it may take a while to begin.
pub(crate) fn limit(check: &Check) -> Duration {
    match check.kind {
        Kind::Http { .. } | Kind::Tcp { .. } | Kind::Resolve { .. } => check.timeout + limits::START,
        _ => check.timeout,
    }
}

/// Looks at the network once, from here: for who makes checks and has no network ([`Programs::look`]).
pub async fn look(check: &Check) -> Outcome {
    let looking = async {
        match &check.kind {
            Kind::Http { url, status, body } => http::probe(url, *status, body.as_deref()).await,
            Kind::Tcp { address } => network::connect(*address).await,
            Kind::Resolve { name } => network::resolve(name).await,
            _ => Outcome::NotRun(format!("{} does not look at the network", check.name)),
        }
    };
    time::timeout(check.timeout, looking).await.unwrap_or_else(|_| late(check))
}

/// What an attempt came to that took too long.
pub(crate) fn late(check: &Check) -> Outcome {
    Outcome::Failed(format!("nothing within {} s", check.timeout.as_secs()))
}

fn ended(program: &str, ended: Result<Ended, String>) -> Outcome {
    match ended {
        Ok(ended) if ended.success => Outcome::Passed,
        Ok(ended) => Outcome::Failed(format!("{program} {}", ended.words)),
        Err(problem) => Outcome::NotRun(problem),
    }
}

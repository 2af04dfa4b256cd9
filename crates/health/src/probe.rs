//! Looking once.

mod http;
mod mount;
mod network;

use std::{future::Future, path::Path, time::Duration};

use crate::{Check, Kind, Outcome};

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
        Kind::Http { url, status, body } => http::probe(url, *status, body.as_deref()).await,
        Kind::Tcp { address } => network::connect(*address).await,
        Kind::Mount { path, free } => mount::probe(path, *free),
        Kind::DefaultRoute {} => network::default_route(),
        Kind::Resolve { name } => network::resolve(name).await,
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

fn ended(program: &str, ended: Result<Ended, String>) -> Outcome {
    match ended {
        Ok(ended) if ended.success => Outcome::Passed,
        Ok(ended) => Outcome::Failed(format!("{program} {}", ended.words)),
        Err(problem) => Outcome::NotRun(problem),
    }
}

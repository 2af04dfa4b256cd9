//! Who is told, and who is asked before.

use std::path::Path;

use rocketos_settings::{
    plan::Plan,
    render::{Action, Files},
};

/// What a service's own checker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Which checker.
    pub by: String,
    /// Its words.
    pub said: String,
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// As the table of services has it.
    Do(Action),
    /// A unit is stopped, while its files are still there.
    Stop(String),
    /// A unit is started when its turn comes: nobody waits for it.
    StartLater(String),
}

impl Order {
    /// In a word, and of which unit.
    pub fn words(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Do(Action::Nothing) => ("nothing", None),
            Self::Do(Action::SetHostname) => ("set-hostname", None),
            Self::Do(Action::ReloadManager) => ("reload-manager", None),
            Self::Do(Action::RaiseLockdown) => ("raise-lockdown", None),
            Self::Do(Action::Reload(unit)) => ("reload", Some(unit)),
            Self::Do(
                Action::Restart(unit)
                | Action::RestartRunning(unit)
                | Action::RestartContainer(unit)
                | Action::RestartHostContainer(unit),
            ) => ("restart", Some(unit)),
            Self::Stop(unit) => ("stop", Some(unit)),
            Self::StartLater(unit) => ("start", Some(unit)),
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Done.
    Done,
    /// There was nothing to do, and why.
    Skipped(String),
}

/// The services of a node.
pub trait Services: Send + Sync {
    /// Asks checkers about files that lie in `folder` by their paths, before they are in place.
    ///
    /// # Errors
    /// What one of them complains about.
    fn check(&self, folder: &Path, fresh: &Files, plan: &Plan) -> Result<(), Complaint>;

    /// Tells somebody, and waits for what comes of it.
    ///
    /// # Errors
    /// What the unit said, where it is not as it should be.
    fn tell(&self, order: &Order) -> Result<Told, String>;
}

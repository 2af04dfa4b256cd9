//! What the service leaves to others: what a node does, and who may ask it to.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
};

use rocketos_health::Report as Health;
use rocketos_settings::{Key, Tree};
use serde_json::Value;

use crate::{
    Problem,
    wire::{Changed, Locked, Past, Receipt, Running, Standing, Step, Terminal},
};

/// Who changes settings, why, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct How {
    /// The generation that the change was made to; where another counts, that is [`crate::Kind::Stale`]. None: whatever counts.
    pub base: Option<u64>,
    /// Who.
    pub by: String,
    /// Why, in a line; may be empty.
    pub why: String,
    /// Only what would come of it.
    pub dry_run: bool,
}

/// What is changed: keys are unset first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Keys, each with all below it.
    pub unset: Vec<Key>,
    /// What is set.
    pub set: Tree,
}

/// Hears of the steps of something that takes long.
pub type Hear<'a> = &'a (dyn Fn(Value) + Send + Sync);

/// A node. Every method may wait for disks and programs. Changes wait for one another, and none is lost.
pub trait Node: Send + Sync + 'static {
    /// What is in force, and what is to be known of it.
    ///
    /// # Errors
    /// Those of the node, as for all that follow.
    fn standing(&self) -> Result<Standing, Problem>;
    /// The generations that are kept, the newest first.
    fn history(&self) -> Result<Vec<Past>, Problem>;
    /// What differs between two of them; 0 is the one before all.
    fn diff(&self, from: u64, to: u64) -> Result<Vec<Changed>, Problem>;
    /// Changes settings, and tells services.
    fn change(&self, change: &Change, how: &How) -> Result<Receipt, Problem>;
    /// Stores what generation `to` had, as a new one; without a number, the one before.
    fn undo(&self, to: Option<u64>, how: &How) -> Result<Receipt, Problem>;
    /// Puts every file as settings have it, and tells services whose files were not so.
    fn apply(&self, by: &str, dry_run: bool) -> Result<Receipt, Problem>;
    /// Lets nobody change settings until the next boot; who was first stays so.
    fn lock(&self, by: &str) -> Result<Locked, Problem>;
    /// bootc's host document, with our facts beside it.
    fn status(&self) -> Result<Value, Problem>;
    /// What health checks came to last; absent where none were made since boot.
    fn health(&self) -> Result<Option<Health>, Problem>;
    /// A report by its name; absent where there is none of that name.
    fn report(&self, name: &str) -> Result<Option<Value>, Problem>;
    /// How host containers stand, besides what settings have of them.
    fn host_containers(&self) -> Result<Running, Problem>;
    /// What the node has to say of itself, without secrets: a tar archive, deflated.
    fn logs(&self) -> Result<Vec<u8>, Problem>;
    /// Starts a program in a host container that runs, as the user and with the variables of its image; with a terminal of its own, where
    /// one is asked for.
    fn exec(
        &self,
        container: &str,
        command: &[String],
        terminal: Option<&Terminal>,
        by: &str,
    ) -> Result<Started, Problem>;
    /// A step of an update, and what it came to.
    fn update(&self, step: Step, hear: Hear<'_>) -> Result<Value, Problem>;
    /// Boots the previous deployment next, or the one whose id begins so.
    fn rollback(&self, to: Option<&str>) -> Result<Value, Problem>;
    /// The generation that counts.
    fn generation(&self) -> Result<u64, Problem>;
}

/// A program that was started for somebody.
pub struct Started {
    /// What it reads from and writes to.
    pub ends: Ends,
    /// The program.
    pub program: Arc<dyn Program>,
}

/// The other ends of what a program reads from and writes to. Nobody else has them.
pub enum Ends {
    /// Of pipes.
    Pipes {
        /// The writing end of one to its standard input.
        stdin: OwnedFd,
        /// The reading end of one from its standard output.
        stdout: OwnedFd,
        /// The same of its standard error.
        stderr: OwnedFd,
    },
    /// Of a pseudo terminal, which is all three.
    Terminal(OwnedFd),
}

/// A program that runs.
pub trait Program: Send + Sync {
    /// Waits until it has ended, and says with which code.
    ///
    /// # Errors
    /// When that cannot be told.
    fn wait(&self) -> Result<i32, Problem>;
    /// Has it ended.
    fn stop(&self);
}

/// Who is at the other end, by the kernel's word (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Who it is, in a line, as generations name them.
    pub who: String,
    /// May ask what is.
    pub read: bool,
    /// May change it.
    pub change: bool,
}

/// Who may do what.
pub trait Permit: Send + Sync + 'static {
    /// What who is at the other end of a connection may do.
    ///
    /// # Errors
    /// When that cannot be told: then it is nothing.
    fn access(&self, peer: Peer, connection: BorrowedFd<'_>) -> std::io::Result<Access>;
}

//! Settings in force: stored, rendered, in place, and everybody told.
//!
//! ```text
//! change, undo:  what is stored + the change -> resolve -> render -> plan
//!                -> rendered to a fresh folder -> checkers -> the generation is on the disk, and does not count yet
//!                -> files swapped -> services told, each waited for -> the generation counts
//!                |  where a step fails: the files that were there come back, who was told is told again
//! apply:         the same of what is stored
//! boot:          settings of the deployment that ran last are brought along, user data is taken; then as apply, before services start;
//!                where something is to be done at this boot, who does it is started (`crate::bootstrap`)
//! with_network:  user data that waits for the network; then as change
//! ```
//!
//! A generation counts only when it has been applied. So who is cut off in between leaves the one before, and files or services that are
//! not as it says: the manifest in [`layout::node::PLACED`] knows which, and the next apply, or the boot, sees to them.
//! `docs/settings.md` is its page; the model, the plan and what is stored are `rocketos-settings`'.

mod apply;
mod boot;
mod bootstrap;
mod brought;
mod change;
mod engine;
mod error;
mod facts;
mod handed_in;
mod lockdown;
mod place;
mod receipt;
mod services;
mod standing;
mod system;
#[cfg(test)]
mod tests;

#[cfg(doc)]
use rocketos_model::layout;

pub use boot::{at_boot, was_configured};
pub use bootstrap::{Ending, Ran};
pub use change::{Change, Undo};
pub use engine::{Engine, Locked};
pub use error::{ConfigureError, Kind};
pub use handed_in::with_network;
pub use receipt::{FileChange, FileFate, InForceShown, Outcome, Receipt, RefusedShown, Step, StepOutcome, Verb};
pub use services::{Complaint, Order, Services, Told};
pub use standing::{DamagedShown, ParkedShown, Past, Standing};

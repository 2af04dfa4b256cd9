//! The agent's brain: which release of a channel a node takes, and when.
//!
//! Owns the channel's document, waves and the rules of what may follow what. It is pure: time, identity and history
//! are handed in, and whoever calls it acts. Nothing here checks a signature: a document that comes in was verified.

pub mod change;
pub mod channel;
pub mod decide;
pub mod simulate;
pub mod wave;
pub mod window;

pub use change::{Change, changes};
pub use channel::{Channel, ChannelError, Curve, Release, Version};
pub use decide::{Accepted, Decision, Node, Wait, Why, Wish, decide};
pub use simulate::{Fleet, Moment, simulate};
pub use wave::fleet_id;
pub use window::Window;

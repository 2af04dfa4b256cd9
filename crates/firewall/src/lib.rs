//! The host's firewall: what may come in, and who says so.
//!
//! Owns what a declaration is, which files declare, and the nftables script that they come to. Loading it is the caller's.
//! `docs/firewall.md` is its page.
//!
//! ```text
//! load(root) -> Declared: openings with the file each is from, and files that are no declarations
//! Declared::script -> one script for `nft --file -`, which takes the place of what was loaded before in one transaction
//! ```
//!
//! Nothing but an opening of a sound file lets anything in: a file that is not understood is left out as a whole.

mod load;
mod opening;
mod script;

pub use load::{Broken, Declaration, Declared, LoadError, load};
pub use opening::{Opening, Protocol, limits};
pub use script::TABLE;

//! What SELinux refused, in words.
//!
//! Owns reading a denial as the kernel logs it, and saying by the policy's own sources (`base/selinux/`, in CIL) who was
//! kept from what, and whether a rule may ever allow it. Finding the lines is the caller's.
//!
//! ```text
//! Denial::parse(line) -> who, what, on what, as the kernel says it
//! Policy::of_image()  -> types with their words, verbs, and what is never allowed
//! explain(&policy, &denial) -> Explanation
//! ```

mod avc;
mod cil;
mod explain;
mod policy;

pub use avc::{Context, Denial};
pub use cil::CilError;
pub use explain::{Explanation, Reason, explain};
pub use policy::{Policy, PolicyError};

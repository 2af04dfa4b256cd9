//! Seals, lints and describes images.
//!
//! Owns the way from an unsealed root (a directory with Debian packages) to what `podman build` copies into a sealed
//! image: groups of files, one per layer, and a UKI whose command line carries the composefs digest of the rest. It
//! also owns the named checks of a finished image. It starts no program and prints nothing; `rocketctl image` calls it.
//!
//! ```text
//! rules + root -> packages -> plan (what stays, in which group) -> groups -> digest -> initramfs -> UKI -> facts
//!                     \-> SBOM
//! ```

pub mod lint;

mod binaries;
mod cdx;
mod copyright;
mod depends;
mod error;
#[cfg(test)]
mod fixture;
mod forbidden;
mod groups;
mod host_containers;
mod index;
mod initramfs;
mod kernel;
mod modules;
mod output;
mod packages;
mod permissions;
mod plan;
mod progress;
mod release;
mod rules;
mod seal;
mod secure_boot;
mod selinux;
mod survey;

pub use error::SealError;
pub use forbidden::Found;
pub use host_containers::{HostContainers, HostContainersError, SETTINGS};
pub use lint::{CheckFacts, Finding, LintOptions, Outcome, Severity, checks, lint};
pub use progress::{Progress, Silent, Step};
pub use seal::{SealFacts, SealOptions, seal, seal_arguments};
pub use secure_boot::{ProgramError, ProgramSigner, addon, verify_signed};

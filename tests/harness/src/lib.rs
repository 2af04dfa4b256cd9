//! The test harness: builds images, makes disks of them, boots machines and talks to them.
//!
//! It owns everything that starts a program on the host on behalf of a test or of `xtask`; it knows the
//! project's images and verbs only by their documented names (`docs/contracts.md`). Every program it starts
//! has a time limit and dies with the value that started it.
//!
//! Called by the integration tests beside it and by `xtask`.

pub mod command;
pub mod credentials;
pub mod fixture;
pub mod fleet_lock;
pub mod guest;
pub mod images;
pub mod installer;
#[cfg(feature = "offline")]
pub mod offline;
pub mod paths;
pub mod progress;
pub mod publisher;
pub mod qemu;
pub mod registry;
pub mod results;
pub mod tools;

pub use credentials::Credentials;
pub use fleet_lock::FleetLock;
pub use guest::{Guest, Output};
pub use images::{Images, Release};
#[cfg(feature = "offline")]
pub use offline::OfflineDisk;
pub use progress::Progress;
pub use publisher::Publisher;
pub use qemu::{Bus, Disk, Ended, Format, Machine, Running};
pub use registry::{HOST_IN_GUEST, Registry};
pub use tools::Tools;

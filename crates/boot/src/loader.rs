//! The loader itself: its files, its versions, and what the firmware is told of it.

mod files;
mod firmware;
mod load_option;
mod version;

pub use files::loader_path;
pub use firmware::{Firmware, PASSES};
pub use load_option::EspPartition;
pub use version::{is_older, loader_version};

//! Deployments: staging, rolling back, pinning, pruning, blessing, installing.
//!
//! Starts where pulling ends: an image is in the store. Owns `state/` on the root partition and decides which
//! deployments have boot entries. Where images come from and whether they may be run is for others to say.
//!
//! Every change is final when its function returns and harmless when it does not: the boot entry is written last and
//! removed first.

mod disk;
mod error;
mod files;
mod grow;
mod handed_in;
mod health;
mod host_containers;
mod install;
mod labels;
mod loader;
mod lock;
mod lost;
mod mounts;
mod node;
mod pins;
mod prune;
mod reboot_lock;
mod remembered;
mod roles;
mod rollback;
mod scrub;
mod settings;
mod stage;
mod unclean;

pub use disk::{DiskError, SMALLEST, check_disk, check_kernel};
pub use error::DeployError;
pub use grow::grow_root;
pub use handed_in::{read_on_esp, read_on_labelled};
pub use health::{FAILURES, Failure, Verdict};
pub use host_containers::{Ground, HostContainer};
pub use install::{check_filesystem, open_new_disk, populate};
pub use loader::{ATTEMPTS, LoaderState, LoaderUpdate};
pub use lock::{Holder, Lock};
pub use lost::{Lost, lost, withdraw};
pub use mounts::answer as mount_for_others;
pub use node::Node;
pub use prune::{Pruned, prune};
pub use remembered::Remembered;
pub use rocketos_sys::memory::share_one_heap;
pub use roles::{Deployment, Roles, roles};
pub use rollback::{bless, give_try_back, rollback};
pub use scrub::{Health, has_to_leave, healths, mended_in_use, note_mended, prefer_whole};
pub use settings::SettingsFolders;
pub use stage::{Activation, Staged, follow, stage};
pub use unclean::{UncleanEsp, unclean_esp};

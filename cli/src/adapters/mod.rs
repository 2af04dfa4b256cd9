//! The only place that starts programs.
//!
//! | program | for |
//! |---|---|
//! | `systemd-repart` | partitioning and formatting at install |
//! | `systemctl` | rebooting |
//! | the one of `--signer` | signing an image with a key that is not in a file |
//!
//! (`skopeo`, which containers-image-proxy starts to read `containers-storage:`, is the other; see `rocketos-oci`.)

pub mod repart;
pub mod signer;
pub mod systemctl;

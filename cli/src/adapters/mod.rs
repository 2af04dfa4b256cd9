//! The only place that starts programs.
//!
//! | program | for |
//! |---|---|
//! | `systemd-repart` | partitioning and formatting at install |
//! | `systemctl` | rebooting |
//!
//! (`skopeo`, which containers-image-proxy starts to read `containers-storage:`, is the other; see `rocketos-oci`.)

pub mod repart;
pub mod systemctl;

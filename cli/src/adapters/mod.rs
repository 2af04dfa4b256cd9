//! The only place that starts programs.
//!
//! | program | for |
//! |---|---|
//! | `systemd-repart` | partitioning and formatting at install |
//! | `fsck.fat` | mending an ESP that was not unmounted |
//! | `nft` | loading the firewall, and reading what is to be loaded |
//! | `quadlet` | reading containers of settings before they are in place |
//! | `journalctl` | what the kernel and systemd said in a boot, the last lines of a unit, and what reports take |
//! | `systemctl` | rebooting, starting a scrub, telling units of settings, and what systemd says of units and of itself |
//! | `systemd-run` | programs of health checks (the kind `command`, and greenboot's), of reports, and in host containers, each in a unit of its own |
//! | the one of `--signer` or `exec:` | signing with a key that is not in a file |
//! | `rocketctl` itself | a verb that the updater was asked for |
//! | `pkcs11-tool` | signing with a key in a token |
//!
//! (`skopeo`, which containers-image-proxy starts to read `containers-storage:`, is the other; see `rocketos-oci`.)

pub mod checker;
pub mod fsck;
pub mod itself;
pub mod journalctl;
pub mod kept;
pub mod nft;
pub mod quadlet;
pub mod repart;
pub mod signer;
pub mod systemctl;
pub mod token;
pub mod transient;

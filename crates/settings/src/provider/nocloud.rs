//! A disk for cloud-init's `NoCloud`: vfat or ISO 9660, labelled `cidata`, with a file `user-data` (cloud-init, "NoCloud").
//!
//! Of its files this is the only one that is read; who is to be the node is settings', not `meta-data`'s.

use super::{DOCUMENT_BYTES, Provider, When, nothing_promised};

/// Its label, in small or capital letters.
pub const LABEL: &str = "cidata";
/// The file.
pub const FILE: &str = "user-data";

/// The disk is taken away, or stays for years: it counts once.
pub const PROVIDER: Provider = Provider {
    order: 30,
    name: "nocloud",
    when: When::FirstBoot,
    look: |machine, _| Ok(machine.on_labelled(LABEL, FILE, DOCUMENT_BYTES)?.into()),
    promised: nothing_promised,
};

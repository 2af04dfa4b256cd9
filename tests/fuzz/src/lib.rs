//! Fuzz targets: one for each parser of bytes that come from a network or a disk that is not ours.
//!
//! A target hands bytes to the public function that nodes call, and asserts what must hold of all that is accepted;
//! that nothing panics, hangs or takes memory without end is the engine's to see. [`TARGETS`] lists them; `replay.rs`
//! runs the corpora through them in every test run, `engine.rs` searches for more.

mod admin;
mod archive;
mod artifact;
mod auth;
mod boot_entry;
mod bundle;
mod carrier;
mod certificate;
mod channel;
mod cmdline;
mod config;
mod containers_policy;
mod control;
mod exec_frames;
mod firmware_variables;
mod gpt;
mod index;
mod key;
mod label;
mod layer;
mod layout;
mod manifest;
mod origin;
mod packed_layer;
mod payload;
mod policy;
mod program;
mod reference;
mod registries;
mod registry;
mod scratch;
mod server;
mod signing;
mod smbios;
mod statement;
mod storage;
mod tar;
mod tuf;
mod uki;
mod user_data;
mod variable_update;

/// Runs a parser on some bytes; a panic is a finding.
pub type Target = fn(&[u8]);

/// Name and function of each target. The name is also its corpus'.
pub const TARGETS: &[(&str, Target)] = &[
    ("admin-user-data", admin::fuzz),
    ("archive", archive::fuzz),
    ("artifact", artifact::fuzz),
    ("auth", auth::fuzz),
    ("boot-entry", boot_entry::fuzz),
    ("bundle", bundle::fuzz),
    ("carrier", carrier::fuzz),
    ("certificate", certificate::fuzz),
    ("channel", channel::fuzz),
    ("cmdline", cmdline::fuzz),
    ("config", config::fuzz),
    ("containers-policy", containers_policy::fuzz),
    ("control-user-data", control::fuzz),
    ("exec-frames", exec_frames::fuzz),
    ("firmware-variables", firmware_variables::fuzz),
    ("gpt", gpt::fuzz),
    ("index", index::fuzz),
    ("key", key::fuzz),
    ("label", label::fuzz),
    ("layer", layer::fuzz),
    ("manifest", manifest::fuzz),
    ("origin", origin::fuzz),
    ("packed-layer", packed_layer::fuzz),
    ("payload", payload::fuzz),
    ("policy", policy::fuzz),
    ("program", program::fuzz),
    ("reference", reference::fuzz),
    ("registries", registries::fuzz),
    ("registry", registry::fuzz),
    ("smbios", smbios::fuzz),
    ("statement", statement::fuzz),
    ("storage", storage::fuzz),
    ("tuf-delegated", tuf::delegated::fuzz),
    ("tuf-root", tuf::root::fuzz),
    ("tuf-snapshot", tuf::snapshot::fuzz),
    ("tuf-targets", tuf::targets::fuzz),
    ("tuf-timestamp", tuf::timestamp::fuzz),
    ("uki", uki::fuzz),
    ("user-data", user_data::fuzz),
    ("variable-update", variable_update::fuzz),
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

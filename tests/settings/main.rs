//! Machines that are told what they are to be: by their API, and by whoever provides them.

mod bootstrap;
#[path = "../../crates/oci/tests/support/certificate.rs"]
mod certificate;
mod changed;
mod host_containers;
mod registries;
mod services;
mod told;
mod userdata;

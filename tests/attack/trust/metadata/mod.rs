//! Release metadata that lies, wherever it is published.

mod bounds;
mod fields;
mod names;
mod publisher;
mod roles;
mod signers;

// How `rocketctl` reaches a place.
#[path = "../../../../cli/src/channel/repository.rs"]
#[allow(dead_code, reason = "publishing is not attacked here")]
mod repository;

//! Images as podman builds them and registries serve them: sealed, alike when built again, and to be derived from.

mod containers;
mod content;
mod derived;
mod digest;
mod drivers;
mod layers;
mod listing;
mod lock;
mod metadata;
mod minimal;
mod published;
mod sbom;
mod selinux;
mod size;

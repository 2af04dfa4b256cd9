//! Machines that live: installing, booting, upgrading, rolling back.

mod channel;
mod check;
mod cycles;
mod failing;
mod firewall;
mod hardening;
mod health;
mod ipe;
mod life;
mod loader;
mod node;
mod report;
mod scrub;
mod secure_boot;
mod surroundings;

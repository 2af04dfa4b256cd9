//! Machines that live: installing, booting, upgrading, rolling back.

mod channel;
mod check;
mod cycles;
mod failing;
mod hardening;
mod health;
mod life;
mod loader;
mod scrub;
mod surroundings;

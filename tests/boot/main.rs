//! Machines that live: installing, booting, upgrading, rolling back.

mod channel;
mod check;
mod cycles;
mod failing;
mod health;
mod life;
mod loader;
mod node;
mod scrub;
mod surroundings;

//! Machines that live: installing, booting, upgrading, rolling back.

mod channel;
mod fallback;
mod health;
mod life;
mod loader;

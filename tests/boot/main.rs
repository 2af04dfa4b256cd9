//! Machines that live: installing, booting, upgrading, rolling back.

mod fallback;
mod life;

//! Machines that live: installing, booting, upgrading, rolling back.

mod channel;
mod fallback;
mod life;
mod scrub;

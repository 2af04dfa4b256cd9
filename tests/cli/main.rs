//! `rocketctl` as people meet it: what it says and what it refuses.

mod host;
mod layout;

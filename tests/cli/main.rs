//! `rocketctl` as people meet it: what it says, what it refuses, and installing from inside a container.

mod guest;
mod host;
mod layout;

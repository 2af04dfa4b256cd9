//! `rocketctl` in a machine: installing from inside a container, and what it refuses.

mod container;
mod damage;
mod layout;
mod policy;
mod refusals;
mod schema;

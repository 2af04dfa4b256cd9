//! Machines that are told what they are to be: by their API, and by whoever provides them.

mod bootstrap;
mod changed;
mod host_containers;
mod told;
mod userdata;

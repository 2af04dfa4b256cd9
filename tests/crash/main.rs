//! The power goes.

mod long;
mod power_cuts;

//! The power goes.

mod power_cuts;

//! The power goes.

mod long;
mod power_cuts;
mod record;
mod replay;

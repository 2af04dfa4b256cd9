//! The power goes.

mod kernel;
mod long;
mod record;
mod replay;
mod seeded;

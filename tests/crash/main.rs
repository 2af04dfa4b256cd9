//! The power goes.

mod long;
mod record;
mod replay;
mod seeded;

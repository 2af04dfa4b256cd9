//! Seals, lints and describes images

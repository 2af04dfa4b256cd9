//! The ESP, unified kernel images and boot entries

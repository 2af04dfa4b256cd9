//! Somebody changes the disk while the machine is off.

mod mended_object;
mod swapped_image;
mod tampered_object;
mod two_disks;

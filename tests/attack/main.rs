//! Somebody changes the disk while the machine is off.

mod swapped_image;
mod tampered_object;
mod two_disks;

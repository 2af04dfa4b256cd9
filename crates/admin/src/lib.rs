//! What the host container `admin` is told by people, and what sshd reads because of it.
//!
//! The programs of the container are beside it and use it; of the other packages the fuzz targets alone do.

pub mod sshd;
pub mod userdata;

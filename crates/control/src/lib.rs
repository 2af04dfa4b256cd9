//! What the host container `control` is told by people.
//!
//! The program of the container is beside it and uses it; of the other packages the fuzz targets alone do.

pub mod userdata;

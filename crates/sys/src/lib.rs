//! Safe wrappers of the few system calls no crate of ours gets elsewhere

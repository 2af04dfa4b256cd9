//! Facts: what is found out, and set by nobody.

use std::net::IpAddr;

use super::{
    group, limits,
    value::{Hostname, Line, Name},
};

group! {
    /// What is so on this node. It is found out whenever somebody looks, and never stored: nobody sets it.
    pub struct NodeFacts {
        /// The name that the node goes by, whoever gave it.
        pub hostname: Option<Hostname>,
        /// Addresses by which others reach it.
        #[schemars(extend("maxItems" = limits::FOUND_ADDRESSES))]
        pub addresses: Option<Vec<IpAddr>>,
        /// What tells it from all other nodes: a hash of its machine-id, the same at every boot.
        pub instance: Option<Name>,
        /// Who made the machine, or runs it, as its firmware says.
        pub vendor: Option<Line>,
        /// What they call it.
        pub product: Option<Line>,
    }
}

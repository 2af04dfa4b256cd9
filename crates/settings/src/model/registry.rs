//! Registries: where else their images are, and who we are there.

use super::{
    group, item, limits,
    value::{Endpoint, RegistryName},
};
use crate::Secret;

group! {
    /// Registries of container images.
    pub struct Registry {
        /// Mirrors, one entry per registry.
        #[schemars(extend("maxItems" = limits::REGISTRIES))]
        pub mirrors: Option<Vec<Mirror>>,
        /// Who the node is there, one entry per registry.
        #[schemars(extend("maxItems" = limits::REGISTRIES))]
        pub credentials: Option<Vec<Credential>>,
    }
}

item! {
    /// Where images of a registry are, too.
    pub struct Mirror {
        /// The registry, such as `docker.io`.
        pub registry: RegistryName,
        /// Who is asked before it, in this order: URLs or hosts. 1 to 16.
        #[schemars(extend("minItems" = 1, "maxItems" = limits::ENDPOINTS))]
        pub endpoint: Vec<Endpoint>,
    }
}

item! {
    /// Who the node is at a registry: `username` and `password`, or `auth`, or `identitytoken`.
    pub struct Credential {
        /// The registry, such as `docker.io`.
        pub registry: RegistryName,
        /// A name; with `password`.
        pub username: Option<Secret>,
        /// A password; with `username`.
        pub password: Option<Secret>,
        /// Name and password, a colon between, in base64.
        pub auth: Option<Secret>,
        /// A token.
        pub identitytoken: Option<Secret>,
    }
}

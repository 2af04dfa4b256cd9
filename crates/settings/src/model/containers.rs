//! Containers: the node's own, those of the host, those of the boot.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    group, item, limits,
    value::{
        AbsolutePath, ContainerImage, HostContainerImage, MemorySize, Ranged, SecretData, TimeSpan, VariableName, Word,
    },
    word,
};

group! {
    /// A container that the node runs by itself, as a service of podman.
    pub struct Container {
        /// It runs. True where absent.
        pub enabled: Option<bool>,
        /// Its image.
        pub source: Option<ContainerImage>,
        /// Words instead of the image's command.
        #[schemars(extend("minItems" = 1, "maxItems" = limits::WORDS))]
        pub command: Option<Vec<Word>>,
        /// Variables. Everybody who may read settings sees them.
        #[schemars(extend("maxProperties" = limits::VARIABLES))]
        pub env: BTreeMap<VariableName, Word>,
        /// Ports of the node that lead into it.
        #[schemars(extend("maxItems" = limits::PORTS))]
        pub publish: Option<Vec<Publish>>,
        /// Folders of the node that it sees.
        #[schemars(extend("maxItems" = limits::VOLUMES))]
        pub volumes: Option<Vec<Volume>>,
        /// Most memory, such as `512M`. 4M at least.
        pub memory: Option<MemorySize>,
        /// Most time of processors, in hundredths of one. 1 to 102400.
        pub cpu_percent: Option<Ranged<1, 102400>>,
        /// When it is started again. `on-failure` where absent.
        pub restart: Option<Restart>,
    }
}

item! {
    /// A port of the node that leads into a container.
    pub struct Publish {
        /// The node's port. 1 to 65535.
        pub host_port: Ranged<1, 65535>,
        /// The container's port. 1 to 65535.
        pub container_port: Ranged<1, 65535>,
        /// `tcp` where absent.
        pub protocol: Option<Transport>,
        /// The node's address; every one where absent.
        pub address: Option<IpAddr>,
    }
}

item! {
    /// A folder of the node that a container sees.
    pub struct Volume {
        /// The folder; below /var, /run or /etc.
        pub source: AbsolutePath,
        /// Where the container sees it.
        pub target: AbsolutePath,
        /// It cannot write there. False where absent.
        pub read_only: Option<bool>,
    }
}

word! {
    /// What is spoken.
    pub enum Transport {
        /// TCP.
        Tcp,
        /// UDP.
        Udp,
    }
}

word! {
    /// When a container is started again.
    pub enum Restart {
        /// Never.
        No,
        /// When it failed.
        OnFailure,
        /// Whenever it ended.
        Always,
    }
}

group! {
    /// A container beside the runtime of the node, for its management.
    pub struct HostContainer {
        /// It runs. False where absent.
        pub enabled: Option<bool>,
        /// Its image: of a registry, or without a slash, such as `control:1.0`, beside that of the system. Where absent: what the
        /// system's image says for this name.
        pub source: Option<HostContainerImage>,
        /// It may do to the host whatever root may. False where absent.
        pub superpowered: Option<bool>,
        /// Data for it, in base64; at most 256 KiB. A secret.
        pub user_data: Option<SecretData>,
        /// Words instead of the image's command.
        #[schemars(extend("minItems" = 1, "maxItems" = limits::WORDS))]
        pub command: Option<Vec<Word>>,
        /// Variables. Everybody who may read settings sees them.
        #[schemars(extend("maxProperties" = limits::VARIABLES))]
        pub env: BTreeMap<VariableName, Word>,
        /// Most memory, such as `512M`. 4M at least.
        pub memory: Option<MemorySize>,
        /// Most time of processors, in hundredths of one. 1 to 102400.
        pub cpu_percent: Option<Ranged<1, 102400>>,
        /// It has a folder that outlives it. True where absent.
        pub persistent: Option<bool>,
        /// When it is started again. `always` where absent.
        pub restart: Option<Restart>,
        /// How it is seen to work.
        pub health: ContainerHealth,
    }
}

group! {
    /// How a container is seen to work.
    pub struct ContainerHealth {
        /// A command inside that ends with 0 while it works.
        #[schemars(extend("minItems" = 1, "maxItems" = limits::WORDS))]
        pub command: Option<Vec<Word>>,
        /// Between two looks where one fails, such as `1min`, at most an hour. `30s` where absent.
        pub interval: Option<TimeSpan>,
        /// What one look may take, at most an hour. `10s` where absent; no more of it while a boot waits.
        pub timeout: Option<TimeSpan>,
        /// Looks that may fail in a row. 1 to 100; 3 where absent. A boot looks once.
        pub retries: Option<Ranged<1, 100>>,
    }
}

word! {
    /// At which boots something is done.
    pub enum Mode {
        /// At none.
        Off,
        /// At each until it succeeded as it is.
        Once,
        /// At each.
        Always,
    }
}

group! {
    /// A container that runs at boot before the node counts as configured, with the rights of a superpowered host container.
    pub struct BootstrapContainer {
        /// Its image.
        pub source: Option<HostContainerImage>,
        /// At which boots it runs. `off` where absent.
        pub mode: Option<Mode>,
        /// The boot fails where it fails. False where absent.
        pub essential: Option<bool>,
        /// Data for it, in base64; at most 256 KiB. A secret.
        pub user_data: Option<SecretData>,
        /// Words instead of the image's command.
        #[schemars(extend("minItems" = 1, "maxItems" = limits::WORDS))]
        pub command: Option<Vec<Word>>,
        /// Variables. Everybody who may read settings sees them.
        #[schemars(extend("maxProperties" = limits::VARIABLES))]
        pub env: BTreeMap<VariableName, Word>,
        /// Most memory, such as `512M`. 4M at least.
        pub memory: Option<MemorySize>,
        /// Most time of processors, in hundredths of one. 1 to 102400.
        pub cpu_percent: Option<Ranged<1, 102400>>,
    }
}

group! {
    /// Calls of the API that are made at boot.
    pub struct BootstrapCommand {
        /// The calls in their order, each as words: `["apiclient", "set", "motd=hello"]`, or as method, path and body:
        /// `["POST", "/v1/settings/unset", '{"keys":["motd"]}']`. Everybody who may read settings sees them.
        #[schemars(extend("maxItems" = limits::COMMANDS))]
        pub commands: Option<Vec<Vec<Word>>>,
        /// At which boots they are made. `off` where absent.
        pub mode: Option<Mode>,
        /// The boot fails where one fails. False where absent.
        pub essential: Option<bool>,
    }
}

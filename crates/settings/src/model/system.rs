//! The kernel, certificates, and the runtime of containers.

use std::collections::BTreeMap;

use super::{
    group, limits,
    value::{Certificates, ModuleName, Ranged, SysctlName, SysctlValue},
    word,
};

group! {
    /// The kernel.
    pub struct Kernel {
        /// How much root may do to the running kernel. It only rises, and stays until the next boot: the image's command line has
        /// `integrity`.
        pub lockdown: Option<Lockdown>,
        /// Kernel parameters by name, such as `"vm.max_map_count" = "262144"`; the value is a text.
        #[schemars(extend("maxProperties" = limits::SYSCTLS))]
        pub sysctl: BTreeMap<SysctlName, SysctlValue>,
        /// Kernel modules by name.
        #[schemars(extend("maxProperties" = limits::MODULES))]
        pub modules: BTreeMap<ModuleName, Module>,
    }
}

word! {
    /// How much root may do to the running kernel (kernel_lockdown(7)).
    pub enum Lockdown {
        /// Anything. Refused: the image's signed command line forbids more.
        None,
        /// Not change it.
        Integrity,
        /// Not change it, nor read what it keeps.
        Confidentiality,
    }
}

impl Lockdown {
    /// From what forbids least to what forbids most.
    pub const ALL: [Self; 3] = [Self::None, Self::Integrity, Self::Confidentiality];

    /// The kernel's word for it, and that of settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        }
    }
}

group! {
    /// A kernel module.
    pub struct Module {
        /// False: it is never loaded, whoever asks. True where absent.
        pub allowed: Option<bool>,
        /// It is loaded at boot. False where absent.
        pub autoload: Option<bool>,
    }
}

group! {
    /// Certificates that are trusted, or kept for those who ask for them by name.
    pub struct Certificate {
        /// PEM, one or more certificates, in base64. At most 1 MiB.
        pub data: Option<Certificates>,
        /// True: programs of the node trust what they signed. False: they do not, though the image or another name here does. Where
        /// absent they are kept, and change nothing.
        pub trusted: Option<bool>,
    }
}

group! {
    /// How containers are run.
    pub struct ContainerRuntime {
        /// Layers that are fetched at once. 1 to 64; 6 where absent.
        pub max_concurrent_downloads: Option<Ranged<1, 64>>,
        /// Containers may listen on ports below 1024 without a capability.
        pub enable_unprivileged_ports: Option<bool>,
        /// Containers may send echo requests without a capability.
        pub enable_unprivileged_icmp: Option<bool>,
    }
}

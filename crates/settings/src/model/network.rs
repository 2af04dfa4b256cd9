//! The network: names, addresses, time, and what may come in.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    containers::Transport,
    group, item, limits,
    value::{
        Address, HardwareAddress, Hostname, InterfaceName, Line, Name, Network, NoProxy, Ports, Proxy, Ranged, Server,
    },
    word,
};
use schemars::JsonSchema;
use serde::Deserialize;

group! {
    /// Names, proxy and interfaces.
    pub struct NetworkSettings {
        /// The node's name (RFC 1123). Where absent: what the network says, or the node's address.
        pub hostname: Option<Hostname>,
        /// Names of other hosts: `[["192.0.2.7", ["a.example", "a"]], …]`.
        #[schemars(extend("maxItems" = limits::HOSTS))]
        pub hosts: Option<Vec<HostNames>>,
        /// The proxy for https, a URL without name and password or `host:port`.
        pub https_proxy: Option<Proxy>,
        /// What is reached without the proxy: names, `.names` for all below, addresses, networks.
        #[schemars(extend("maxItems" = limits::NO_PROXY))]
        pub no_proxy: Option<Vec<NoProxy>>,
        /// Network interfaces by name. One that is named by nobody asks by DHCP, as the image says.
        #[schemars(extend("maxProperties" = limits::NAMED))]
        pub interfaces: BTreeMap<InterfaceName, Interface>,
    }
}

/// An address and the names for it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct HostNames(
    /// The address.
    pub IpAddr,
    /// Its names.
    pub Vec<Hostname>,
);

group! {
    /// A network interface.
    pub struct Interface {
        /// The hardware address it is found by, whatever the kernel calls it; by its name where absent.
        pub mac: Option<HardwareAddress>,
        /// Ask for an IPv4 address by DHCP. Where absent: it does unless it has addresses of its own, or is part of a bond.
        pub dhcp4: Option<bool>,
        /// Ask for an IPv6 address by DHCP. Where absent: as IPv4.
        pub dhcp6: Option<bool>,
        /// Take IPv6 addresses and routes that routers announce. Where absent: the kernel's way.
        pub accept_ra: Option<bool>,
        /// Addresses, each with the length of its network: `192.0.2.7/24`.
        #[schemars(extend("maxItems" = limits::ADDRESSES))]
        pub addresses: Option<Vec<Address>>,
        /// Ways to other networks.
        #[schemars(extend("maxItems" = limits::ROUTES))]
        pub routes: Option<Vec<Route>>,
        /// Bytes of the largest packet. 68 to 65535.
        pub mtu: Option<Ranged<68, 65535>>,
        /// It counts when the node waits to be online: any one that counts is enough. Where absent: it does, unless it is part of a
        /// bond.
        pub required: Option<bool>,
        /// What makes it a bond of other interfaces.
        pub bond: Bond,
        /// What makes it a VLAN of another interface.
        pub vlan: Vlan,
    }
}

item! {
    /// A way to other networks.
    pub struct Route {
        /// The network, such as `10.0.0.0/8`; `0.0.0.0/0` and `::/0` are all.
        pub to: Network,
        /// The router.
        pub via: Option<IpAddr>,
        /// The address that packets are sent from.
        pub from: Option<IpAddr>,
        /// Which of several ways is taken: the lowest. 0 to 4294967295.
        pub route_metric: Option<u32>,
    }
}

group! {
    /// Several interfaces as one.
    pub struct Bond {
        /// The interfaces; each is named among `interfaces` too, and in no other bond.
        #[schemars(extend("minItems" = 1, "maxItems" = limits::BONDED))]
        pub interfaces: Option<Vec<InterfaceName>>,
        /// How they share the work. `active-backup` where absent.
        pub mode: Option<BondMode>,
        /// How many have to have a link. 1 to 16.
        pub min_links: Option<Ranged<1, 16>>,
        /// Milliseconds between two looks at the links. 10 to 10000; 100 where absent.
        pub miimon: Option<Ranged<10, 10000>>,
    }
}

word! {
    /// How the interfaces of a bond share the work (the kernel's words).
    pub enum BondMode {
        /// One after the other, packet by packet.
        BalanceRr,
        /// One works; another takes over when it fails.
        ActiveBackup,
        /// By a hash over addresses.
        BalanceXor,
        /// All send everything.
        Broadcast,
        /// IEEE 802.3ad: agreed with the switch (LACP).
        #[serde(rename = "802.3ad")]
        Lacp,
        /// By the load of each when sending.
        BalanceTlb,
        /// By the load of each, both ways.
        BalanceAlb,
    }
}

group! {
    /// A virtual network on another interface.
    pub struct Vlan {
        /// The interface; it is named among `interfaces` too.
        pub device: Option<InterfaceName>,
        /// Its number. 1 to 4094.
        pub id: Option<Ranged<1, 4094>>,
    }
}

group! {
    /// Who answers for names.
    pub struct Dns {
        /// Addresses of servers, asked in this order. Where absent: what the network says.
        #[schemars(extend("maxItems" = limits::NAME_SERVERS))]
        pub name_servers: Option<Vec<IpAddr>>,
        /// Domains that are tried after a name without dots.
        #[schemars(extend("maxItems" = limits::SEARCH_DOMAINS))]
        pub search_list: Option<Vec<Hostname>>,
    }
}

group! {
    /// Who tells the time.
    pub struct Ntp {
        /// Servers: names or addresses; at least one. Where absent: what the image says.
        #[schemars(extend("minItems" = 1, "maxItems" = limits::TIME_SERVERS))]
        pub time_servers: Option<Vec<Server>>,
    }
}

group! {
    /// What may come in from the network, besides what the image lets in.
    pub struct Firewall {
        /// Openings by a name.
        #[schemars(extend("maxProperties" = limits::OPENINGS))]
        pub open: BTreeMap<Name, Opening>,
    }
}

group! {
    /// Something that may come in.
    pub struct Opening {
        /// `tcp` or `udp`.
        pub protocol: Option<Transport>,
        /// A port, 1 to 65535, or a range, `"30000-32767"`.
        pub port: Option<Ports>,
        /// From which networks or addresses alone; none overlaps another. From any where absent.
        #[schemars(extend("minItems" = 1, "maxItems" = limits::NETWORKS))]
        pub from: Option<Vec<Network>>,
        /// By which interface alone; by any where absent.
        pub interface: Option<InterfaceName>,
        /// What it is for, in words.
        pub reason: Option<Line>,
    }
}

//! Facts: what is found out of a node whenever somebody looks, above the image's settings and beneath all others. Nobody sets one, none is
//! stored, and none comes to a file: a name that the network gave does not become the node's own because something else was set.
//!
//! ```text
//! Found { .. }.add_to(layers)   each with what it is known by; what the model does not take is left out
//! ipv4(text), ipv6(text)        addresses as the kernel tells them
//! identity(machine_id)          the node's name to others
//! ```

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Key, Layers, SetBy, Tree, model};

/// Where facts are.
pub const GROUP: &str = "facts";
/// Separates this use of the machine-id from every other.
const CONTEXT: &[u8] = b"rocketos instance 1\0";
/// Bytes of the node's name to others.
const IDENTITY_BYTES: usize = 16;
/// What the kernel calls a machine without a name.
const NO_NAMES: [&str; 2] = ["(none)", "localhost"];
/// In /proc/net/if_inet6: an address that counts everywhere.
const EVERYWHERE: u8 = 0;
/// There: one that another machine has, or that nobody knows yet whether one has (rtnetlink(7), IFA_F_DADFAILED, IFA_F_TENTATIVE).
const NOT_OURS: u8 = 0x08 | 0x40;

/// What was found out; what was not is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The name that the kernel has.
    pub hostname: Option<String>,
    /// The machine-id.
    pub machine_id: Option<String>,
    /// Who made the machine, by its firmware.
    pub vendor: Option<String>,
    /// What they call it.
    pub product: Option<String>,
    /// Addresses.
    pub addresses: BTreeSet<IpAddr>,
}

impl Found {
    /// Puts the layer on top.
    pub fn add_to(&self, layers: &mut Layers) {
        let text = |found: &Option<String>| found.as_deref().map(|text| json!(text.trim()));
        let hostname = text(&self.hostname).filter(|name| !NO_NAMES.iter().any(|no| name == no));
        let addresses: Vec<&IpAddr> = self.addresses.iter().take(model::limits::FOUND_ADDRESSES).collect();
        let addresses = (!addresses.is_empty()).then(|| json!(addresses));
        let instance = self.machine_id.as_deref().map(|id| json!(identity(id)));
        for (name, by, value) in [
            ("hostname", "kernel", hostname),
            ("addresses", "kernel", addresses),
            ("instance", "machine-id", instance),
            ("vendor", "firmware", text(&self.vendor)),
            ("product", "firmware", text(&self.product)),
        ] {
            if let Some(value) = value {
                add(layers, name, by, value);
            }
        }
    }
}

/// Nobody could mend a fact that the model refuses: it is no reason to refuse settings.
fn add(layers: &mut Layers, name: &str, by: &str, value: Value) {
    let Ok(key) = Key::new([GROUP, name]) else { return };
    let mut tree = Tree::default();
    if model::refusal(&key, &value).is_none() && tree.set(&key, value).is_ok() {
        layers.add(&tree, |_| SetBy::Fact { name: by.to_owned() });
    }
}

/// The node's name to others: the same at every boot and of every deployment, another than its machine-id, which is nobody else's
/// business (machine-id(5)).
pub fn identity(machine_id: &str) -> String {
    let hash = Sha256::new().chain_update(CONTEXT).chain_update(machine_id.trim().as_bytes()).finalize();
    hex::encode(&hash[..IDENTITY_BYTES])
}

/// Addresses of /proc/net/fib_trie that are this machine's, but for those that nobody else reaches.
pub fn ipv4(text: &str) -> BTreeSet<Ipv4Addr> {
    let (mut found, mut last) = (BTreeSet::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.filter(|address| !address.is_loopback() && !address.is_link_local()));
        }
    }
    found
}

/// Addresses of /proc/net/if_inet6 that count beyond a link.
pub fn ipv6(text: &str) -> BTreeSet<Ipv6Addr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let byte = |word: &str| u8::from_str_radix(word, 16).ok();
        let (scope, flags) = (byte(words.nth(2)?)?, byte(words.next()?)?);
        (scope == EVERYWHERE && flags & NOT_OURS == 0).then(|| Ipv6Addr::from(address))
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(found: &Found) -> Vec<String> {
        let mut layers = Layers::default();
        found.add_to(&mut layers);
        let effective = layers.resolve().unwrap_or_else(|problems| panic!("{problems}"));
        effective.shown(None).iter().map(|fact| format!("{} = {} by {}", fact.key, fact.value, fact.set_by)).collect()
    }

    #[test]
    fn what_is_known_of_a_node_says_by_what() {
        let text = |text: &str| Some(text.to_owned());
        let found = Found {
            hostname: text("node-1.example\n"),
            machine_id: text("0123456789abcdef0123456789abcdef\n"),
            vendor: text("QEMU\n"),
            product: text("Standard PC (Q35 + ICH9, 2009)\n"),
            addresses: ["192.0.2.7".parse().unwrap(), "fd00::7".parse().unwrap()].into(),
        };
        let expected = [
            r#"facts.addresses = ["192.0.2.7","fd00::7"] by the fact kernel"#,
            r#"facts.hostname = "node-1.example" by the fact kernel"#,
            r#"facts.instance = "12e538c96fe99ccb447a47e219977b73" by the fact machine-id"#,
            r#"facts.product = "Standard PC (Q35 + ICH9, 2009)" by the fact firmware"#,
            r#"facts.vendor = "QEMU" by the fact firmware"#,
        ];
        assert_eq!(shown(&found), expected);
        // With or without the line's end it is the same node.
        assert_eq!(identity("0123456789abcdef0123456789abcdef"), identity("0123456789abcdef0123456789abcdef\n"));
    }

    #[test]
    fn what_is_not_known_or_makes_no_sense_is_left_out() {
        assert_eq!(shown(&Found::default()), [""; 0]);
        let long = "x".repeat(300);
        for name in ["(none)\n", "localhost", "", "a b", "-", long.as_str()] {
            let name = Some(name.to_owned());
            let found = Found { hostname: name.clone(), vendor: Some("a\"b\nc".to_owned()), ..Found::default() };
            assert_eq!(shown(&found), [""; 0], "{name:?}");
        }
        let addresses = (0..200).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        let [all] = &shown(&Found { addresses, ..Found::default() })[..] else { panic!("there are addresses") };
        assert_eq!(all.matches("192.0.2.").count(), model::limits::FOUND_ADDRESSES);
    }

    #[test]
    fn addresses_are_those_by_which_others_reach_it() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 4\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 10.0.2.0/24 2 0 1\n        \
                    |-- 10.0.2.0\n           /24 link UNICAST\n        |-- 10.0.2.15\n           /32 host LOCAL\n        \
                    |-- 10.0.2.255\n           /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n     \
                    |-- 169.254.3.4\n        /32 host LOCAL\nLocal:\n        |-- 10.0.2.15\n           /32 host LOCAL\n     \
                    |-- nothing\n        /32 host LOCAL\n";
        assert_eq!(ipv4(trie), [Ipv4Addr::new(10, 0, 2, 15)].into());
        let table = "fe80000000000000505400fffe123456 02 40 20 80     eth0\n\
                     00000000000000000000000000000001 01 80 10 80       lo\n\
                     fd000000000000000000000000000007 02 40 00 80     eth0\n\
                     fd000000000000000000000000000008 02 40 00 c0     eth0\n\
                     fd000000000000000000000000000009 02 40 00 88     eth0\n\
                     no address\nfd00 02\n";
        assert_eq!(ipv6(table), ["fd00::7".parse::<Ipv6Addr>().unwrap()].into());
        assert!(ipv4("").is_empty() && ipv6("").is_empty());
    }
}

//! The nftables script: a table of ours, closed but for what is declared.
//!
//! Containers' published ports are not its concern: netavark sends what comes for them on before this chain would see it, and
//! what is sent on passes `forward`, of which we have no chain.

use std::fmt::Write as _;

use crate::{Declared, Opening, load::Declaration};

/// The table, as `nft list table` takes it.
pub const TABLE: &str = "inet rocketos";

/// Characters of a comment in a rule (nft(8): 128 bytes with the one that ends it).
const COMMENT_CHARS: usize = 127;

/// What every node lets in, with the reason.
const BASE: &str = r#"		ct state { established, related } accept
		ct state invalid drop
		iif "lo" accept

		# Errors on the way, of which the size that fits is one; and that the node can be found.
		icmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request } accept
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request } accept
		# Neighbours and routers, who are one hop away (RFC 4861, 7.1.1), and switches that ask who listens to them.
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept
		icmpv6 type mld-listener-query ip6 saddr fe80::/10 accept

		# What a DHCP server says: it was asked by broadcast or multicast, which no connection is seen in.
		udp sport 67 udp dport 68 meta nfproto ipv4 accept
		ip6 daddr fe80::/10 udp dport 546 accept

		# Names of containers: aardvark-dns listens on podman's bridges.
		iifname "podman*" meta l4proto { tcp, udp } th dport 53 accept
"#;

impl Declared {
    /// The script. It puts what is declared in the place of what was loaded before, in one transaction.
    pub fn script(&self) -> String {
        // Named first, so that there is something to delete.
        let mut text = format!("table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n\tchain input {{\n");
        text.push_str("\t\ttype filter hook input priority filter; policy drop;\n\n");
        text.push_str(BASE);
        for (at, declaration) in self.open.iter().enumerate() {
            if at == 0 || self.open[at - 1].declared_by != declaration.declared_by {
                // A path has no characters that a line of the script could end at: see `plain`.
                let _ = write!(text, "\n\t\t# {}\n", plain(&declaration.declared_by));
            }
            for rule in rules(declaration) {
                let _ = writeln!(text, "\t\t{rule}");
            }
        }
        text.push_str("\n\t\tcounter comment \"closed\"\n\t}\n}\n");
        text
    }
}

/// The rules of an opening: one, or one for each family of addresses.
fn rules(Declaration { opening, declared_by }: &Declaration) -> Vec<String> {
    let Opening { protocol, port, from, interface, .. } = opening;
    let interface = interface.as_ref().map(|name| format!("iifname \"{name}\" ")).unwrap_or_default();
    let name = declared_by.rsplit('/').next().unwrap_or_default();
    let comment: String = plain(name).chars().take(COMMENT_CHARS).collect();
    let rule = |addresses: &str| format!("{interface}{addresses}{protocol} dport {port} accept comment \"{comment}\"");
    let Some(from) = from else { return vec![rule("")] };
    let mut rules = Vec::new();
    for (family, ipv4) in [("ip", true), ("ip6", false)] {
        let networks: Vec<String> =
            from.iter().filter(|network| network.is_ipv4() == ipv4).map(ToString::to_string).collect();
        if !networks.is_empty() {
            rules.push(rule(&format!("{family} saddr {{ {} }} ", networks.join(", "))));
        }
    }
    rules
}

/// A file's name without what would mean something in a script.
fn plain(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-', '/', '@', '+'].contains(&c);
    name.chars().map(|c| if plain(c) { c } else { '?' }).collect()
}

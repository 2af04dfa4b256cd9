//! An opening: what may come in. TOML, any number in a file.

use std::fmt;

use rocketos_model::{Network, Ports};
use serde::{Deserialize, Serialize};

/// Bounds of declarations.
pub mod limits {
    /// Files that declare.
    pub const FILES: usize = 128;
    /// Openings of one file.
    pub const OPENINGS: usize = 64;
    /// Networks of one opening.
    pub const NETWORKS: usize = 256;
    /// Characters of a reason.
    pub const REASON_CHARS: usize = 200;
    /// Characters of an interface's name (Linux, IFNAMSIZ without the byte that ends it).
    pub const INTERFACE_CHARS: usize = 15;
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Something that may come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// What is spoken.
    pub protocol: Protocol,
    /// To which of the host's ports.
    pub port: Ports,
    /// From whom alone; from anybody where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<Network>>,
    /// By which interface alone, `*` at the end standing for anything; by any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What it is for.
    pub reason: String,
}

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    open: Vec<Opening>,
}

impl Opening {
    /// Reads a file's text: the openings it declares, none where it is empty.
    ///
    /// # Errors
    /// When it says what is not understood.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if file.open.len() > limits::OPENINGS {
            return Err(format!("it declares {} openings, more than {}", file.open.len(), limits::OPENINGS));
        }
        file.open.iter().try_for_each(Self::sound)?;
        Ok(file.open)
    }

    fn sound(&self) -> Result<(), String> {
        let of = format!("the opening of {}/{}", self.port, self.protocol);
        if self.reason.trim().is_empty() || self.reason.chars().count() > limits::REASON_CHARS {
            return Err(format!("{of} needs a reason, of at most {} characters", limits::REASON_CHARS));
        }
        if self.reason.chars().any(char::is_control) {
            return Err(format!("the reason of {of} has a character that nobody sees"));
        }
        if let Some(name) = &self.interface {
            let stem = name.strip_suffix('*').unwrap_or(name);
            let plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
            if stem.is_empty() || name.len() > limits::INTERFACE_CHARS || !stem.chars().all(plain) {
                return Err(format!("'{name}', in {of}, is no interface, such as 'eth1' or 'wg*'"));
            }
        }
        let Some(from) = &self.from else { return Ok(()) };
        if from.is_empty() || from.len() > limits::NETWORKS {
            return Err(format!("{of} is from 1 to {} networks, or says nothing of them", limits::NETWORKS));
        }
        // nft takes none of a set whose elements overlap.
        for (at, network) in from.iter().enumerate() {
            if let Some(other) = from[..at].iter().find(|other| other.overlaps(network)) {
                return Err(format!("{network} and {other}, in {of}, overlap"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(lines: &str) -> String {
        Opening::parse_file(&format!("[[open]]\n{lines}")).unwrap_err()
    }

    #[test]
    fn reads_what_a_person_writes() {
        let text = "[[open]]\nprotocol = 'tcp'\nport = 443\nreason = 'web'\n\
                    [[open]]\nprotocol = 'udp'\nport = '8000-8010'\nfrom = ['10.0.0.0/8', '192.0.2.7', 'fd00::/8']\n\
                    interface = 'wg*'\nreason = 'nodes'\n";
        let [web, nodes] = Opening::parse_file(text).unwrap().try_into().unwrap();
        assert_eq!((web.port.to_string().as_str(), web.protocol, &web.from), ("443", Protocol::Tcp, &None));
        let from: Vec<_> = nodes.from.as_ref().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(from, ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]);
        let json = serde_json::json!({
            "protocol": "udp", "port": "8000-8010", "from": from, "interface": "wg*", "reason": "nodes",
        });
        assert_eq!(serde_json::to_value(&nodes).unwrap(), json);
        assert!(Opening::parse_file("").unwrap().is_empty());
    }

    #[test]
    fn says_what_is_wrong() {
        let sound = "protocol = 'tcp'\nport = 1\nreason = 'a'\n";
        assert!(Opening::parse_file(&format!("[[open]]\n{sound}")).is_ok());
        for (lines, says) in [
            ("protocol = 'tcp'\nport = 1\n", "reason"),
            ("protocol = 'tcp'\nport = 1\nreason = ' '\n", "needs a reason"),
            ("protocol = 'tcp'\nport = 1\nreason = \"a\\nb\"\n", "nobody sees"),
            ("protocol = 'icmp'\nport = 1\nreason = 'a'\n", "icmp"),
            ("protocol = 'tcp'\nreason = 'a'\n", "port"),
            ("protocol = 'tcp'\nport = 0\nreason = 'a'\n", "no port"),
            ("protocol = 'tcp'\nport = 65536\nreason = 'a'\n", "no port"),
            ("protocol = 'tcp'\nport = -1\nreason = 'a'\n", "no port"),
            ("protocol = 'tcp'\nport = '20-10'\nreason = 'a'\n", "no port"),
            ("protocol = 'tcp'\nport = '1 accept'\nreason = 'a'\n", "no port"),
            ("protocol = 'tcp'\nport = true\nreason = 'a'\n", "a port is a number"),
            (&format!("{sound}ports = [1]\n"), "ports"),
            (&format!("{sound}from = []\n"), "1 to 256"),
            (&format!("{sound}from = ['10.0.0.1/8']\n"), "beyond its first 8"),
            (&format!("{sound}from = ['fd00::1/0']\n"), "beyond its first 0"),
            (&format!("{sound}from = ['10.0.0.0/33']\n"), "no network"),
            (&format!("{sound}from = ['10.0.0.0/+8']\n"), "no network"),
            (&format!("{sound}from = ['example.org']\n"), "no network"),
            (&format!("{sound}from = ['10.0.0.0/8', '10.1.0.0/16']\n"), "overlap"),
            (&format!("{sound}from = ['0.0.0.0/0', '10.1.0.0/16']\n"), "overlap"),
            (&format!("{sound}interface = ''\n"), "no interface"),
            (&format!("{sound}interface = '*'\n"), "no interface"),
            (&format!("{sound}interface = 'a\" accept'\n"), "no interface"),
            (&format!("{sound}interface = 'a-name-too-long0'\n"), "no interface"),
            ("", "missing"),
        ] {
            let problem = problem(lines);
            assert!(problem.contains(says), "{lines}: {problem}");
        }
        assert!(Opening::parse_file("[open]\n").is_err() && Opening::parse_file("opens = []\n").is_err());
        let many = "[[open]]\nprotocol = 'tcp'\nport = 1\nreason = 'a'\n".repeat(limits::OPENINGS + 1);
        assert!(Opening::parse_file(&many).unwrap_err().contains("more than 64"));
    }

    #[test]
    fn all_of_one_family_overlaps_none_of_the_other() {
        let text = "[[open]]\nprotocol = 'tcp'\nport = 1\nfrom = ['0.0.0.0/0', '::/0']\nreason = 'a'\n";
        assert!(Opening::parse_file(text).is_ok());
    }
}

//! Parts of addresses, as people write them: networks, and ranges of ports.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Characters of what was written that a message repeats.
const SHOWN: usize = 60;

/// What was written, on one line.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

/// A port, or those from one to another, such as `30000-32767`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The first, from 1 on.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl FromStr for Ports {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{}' is no port, such as 443, nor a range of them, such as '30000-32767'", shown(text));
        // `parse` alone would take a sign.
        let port = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong),
            false => Err(wrong()),
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ports = Self { first: port(first)?, last: port(last)? };
        if ports.first <= ports.last { Ok(ports) } else { Err(wrong()) }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.first == self.last {
            true => serializer.serialize_u16(self.first),
            false => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a port is a number, or a range such as '30000-32767'")]
        enum Written {
            Number(i64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(de::Error::custom)
    }
}

/// Addresses with a common beginning; what is behind that is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// Bits that all of them share.
    pub bits: u8,
}

impl Network {
    /// True where its addresses are IPv4's.
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Its first address, as a number, and how many bits of it are the host's.
    fn parts(&self) -> (u128, u32) {
        match self.address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32 - u32::from(self.bits)),
            IpAddr::V6(address) => (u128::from(address), 128 - u32::from(self.bits)),
        }
    }

    /// True where one of its addresses is one of the other's.
    pub fn overlaps(&self, other: &Self) -> bool {
        let ((mine, my_host), (theirs, their_host)) = (self.parts(), other.parts());
        let host = my_host.max(their_host);
        let network = |address: u128| address.checked_shr(host).unwrap_or(0);
        self.is_ipv4() == other.is_ipv4() && network(mine) == network(theirs)
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{}' is no network, such as '10.0.0.0/8' or 'fd00::/8', nor an address", shown(text));
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if bits > most {
            return Err(wrong());
        }
        let network = Self { address, bits };
        let (number, host) = network.parts();
        // A slip in the length of the beginning is how a port is opened to strangers.
        if number & 1_u128.checked_shl(host).map_or(u128::MAX, |above| above - 1) != 0 {
            return Err(format!("'{}' has bits set beyond its first {bits}", shown(text)));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

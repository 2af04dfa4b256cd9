//! Names and addresses of networks.

use std::{fmt, net::IpAddr, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{short, text, written};

/// Bytes of a host's name (RFC 1123, 2.1; the final dot is never written).
const HOST_BYTES: usize = 253;
/// Bytes of a label (RFC 1035, 2.3.4).
const LABEL_BYTES: usize = 63;
/// Bytes of a URL.
const URL_BYTES: usize = 2048;
/// Bytes of an interface's name (Linux, IFNAMSIZ without the byte that ends it).
const INTERFACE_BYTES: usize = 15;

text!(
    /// A host's name (RFC 1123): labels of letters, digits and inner hyphens, dots between them.
    Hostname,
    HOST_BYTES,
    |text| {
        let sound = |label: &str| {
            (1..=LABEL_BYTES).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        match text.split('.').all(sound) {
            true => Ok(()),
            false => Err(format!("{} is no host's name: letters, digits, inner hyphens, dots between", short(text))),
        }
    }
);

text!(
    /// A server: a host's name or an address.
    Server,
    HOST_BYTES,
    |text| match text.parse::<IpAddr>().is_ok() || text.parse::<Hostname>().is_ok() {
        true => Ok(()),
        false => Err(format!("{} is neither a host's name nor an address", short(text))),
    }
);

text!(
    /// The name of a network interface, such as `eth0`.
    InterfaceName,
    INTERFACE_BYTES,
    |text| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        match !text.is_empty() && text.bytes().all(plain) && text != "." && text != ".." && !text.starts_with('-') {
            true => Ok(()),
            false => Err(format!("{} is no interface's name, such as 'eth0'", short(text))),
        }
    }
);

text!(
    /// A hardware address: six bytes in hexadecimal, colons between.
    HardwareAddress,
    17,
    |text| {
        let parts: Vec<&str> = text.split(':').collect();
        let byte = |part: &&str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        match parts.len() == 6 && parts.iter().all(byte) {
            true => Ok(()),
            false => Err(format!("{} is no hardware address, such as '52:54:00:12:34:56'", short(text))),
        }
    }
);

text!(
    /// What is reached without the proxy: a host's name, one with a dot before it for all below it, an address, or a network.
    NoProxy,
    HOST_BYTES + 1,
    |text| {
        let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
        match text.parse::<Server>().is_ok() || name.parse::<Hostname>().is_ok() || text.parse::<Network>().is_ok() {
            true => Ok(()),
            false => Err(format!("{} is neither a host's name, nor an address, nor a network", short(text))),
        }
    }
);

text!(
    /// A URL, http or https, without name and password in it.
    HttpUrl,
    URL_BYTES,
    |text| http(text).map(|_| ())
);

text!(
    /// A proxy: a URL, http or https, without name and password in it, or a host and its port.
    Proxy,
    URL_BYTES,
    |text| {
        let url = if text.contains("://") { http(text)? } else { http(&format!("http://{text}"))? };
        // It goes into systemd's environment, where '%' would stand for something else.
        match url.path() == "/" && !text.contains('%') && url.query().is_none() && url.fragment().is_none() {
            true => Ok(()),
            false => Err(format!("{} has more than a host and a port", short(text))),
        }
    }
);

/// The URL, where it is http's and means what it says: no spaces that a reader would pass over, nothing quoted.
pub(super) fn http(text: &str) -> Result<Url, String> {
    let wrong = || format!("{} is no URL of http or https", short(text));
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '`' | '<' | '>' | '{' | '}');
    // The reader alone would take `http:a` too.
    if !text.chars().all(plain) || !["http://", "https://"].iter().any(|start| text.starts_with(start)) {
        return Err(wrong());
    }
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    match url.username().is_empty() && url.password().is_none() {
        true => Ok(url),
        // Not repeated: it has a password in it.
        false => Err("a URL here is shown to everybody, and has no name and password in it".to_owned()),
    }
}

fn bits(text: &str, address: IpAddr) -> Option<u8> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    let sound = !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|bits| sound && *bits <= most)
}

/// An address of this node, and how many bits of it name its network, such as `192.0.2.7/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Bits of its network.
    pub bits: u8,
}
written!(Address, 64);

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{} is no address with the length of its network, such as '192.0.2.7/24'", short(text));
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        Ok(Self { address, bits: bits(length, address).ok_or_else(wrong)? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// A network, such as `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Network(pub rocketos_model::Network);
written!(Network, 64);

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A port, 1 to 65535, or those from one to another, such as `"30000-32767"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ports(pub rocketos_model::Ports);

impl FromStr for Ports {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Ports {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ports".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["integer", "string"], "minimum": 1, "maximum": u16::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::takes, *};

    #[test]
    fn takes_names_and_addresses_and_nothing_else() {
        let long = format!("{}.example", "a".repeat(64));
        takes::<Hostname>(
            &["node", "a.b-c.example", "10.0.0.1"],
            &["-a", "a-", "a..b", "a_b", "a b", "ä", "a.", &long],
        );
        takes::<Server>(&["time.example", "10.0.0.1", "fd00::1"], &["fd00::1%eth0", "a b", "[::1]"]);
        takes::<InterfaceName>(&["eth0", "enp0s3", "bond.1", "a_b"], &["a/b", "..", "a b", "-x", "sixteen-bytes-xy"]);
        takes::<HardwareAddress>(&["52:54:00:12:34:5f"], &["52:54:00:12:34", "52-54-00-12-34-56", "5:54:00:12:34:567"]);
        takes::<NoProxy>(&["localhost", ".example", "*.example", "10.0.0.0/8", "fd00::1"], &["a,b", "*", "10.0.0.1/8"]);
        takes::<Address>(
            &["192.0.2.7/24", "fd00::7/64"],
            &["192.0.2.7", "192.0.2.7/33", "fd00::/+8", "a/8", "1.2.3.4/"],
        );
        takes::<Network>(
            &["10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "::/0", "192.0.2.7"],
            &["10.0.0.1/8", "fd00::1/0", "a"],
        );
        takes::<Ports>(&["443", "30000-32767"], &["0", "65536", "-1", "+1", "20-10", "1-", "1 accept"]);
    }

    #[test]
    fn takes_urls_without_passwords_and_repeats_none() {
        takes::<HttpUrl>(
            &["https://a.example/b?c=d", "http://[fd00::1]:8080/"],
            &[
                "ftp://a",
                "a.example",
                "https://",
                "HTTP://a",
                "https://a b",
                "https://a/\"",
                "https://a/{b}",
                "http:a",
                "/a",
            ],
        );
        takes::<Proxy>(
            &["proxy.example:3128", "http://10.0.0.1:3128", "https://proxy/"],
            &["http://a/b", "a?b", "socks5://a", "http://a%48:1"],
        );
        let error = "https://me:hunter2@proxy.example".parse::<Proxy>().unwrap_err();
        assert!(error.contains("password") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn networks_overlap_within_a_family() {
        let overlap =
            |one: &str, other: &str| one.parse::<Network>().unwrap().0.overlaps(&other.parse::<Network>().unwrap().0);
        assert!(overlap("10.0.0.0/8", "10.1.0.0/16") && overlap("10.1.0.0/16", "10.0.0.0/8"));
        assert!(overlap("0.0.0.0/0", "192.0.2.1") && overlap("fd00::/8", "fd00::1"));
        assert!(!overlap("0.0.0.0/0", "::/0") && !overlap("10.0.0.0/8", "11.0.0.0/8"));
    }
}

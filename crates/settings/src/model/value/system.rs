//! Names and texts of the system.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::{error::ErrorStack, x509::X509};
use rocketos_model::Place;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{is_plain, short, text, written};
use crate::secret;

/// Bytes that user data of a container unpacks to.
const DATA_BYTES: usize = 256 << 10;
/// Bytes of a bundle of certificates.
const CERTIFICATE_BYTES: usize = 1 << 20;
/// Bytes of one raw file.
const RAW_BYTES: usize = 64 << 10;
/// Folders of raw files, below /etc, and how the names of files in them end.
pub(crate) const RAW_FOLDERS: [(&str, &[&str]); 4] = [
    ("systemd/network/", &[".network", ".netdev", ".link", ".conf"]),
    ("containers/containers.conf.d/", &[".conf"]),
    ("sysctl.d/", &[".conf"]),
    ("systemd/system/", &[".service", ".socket", ".timer", ".path", ".mount", ".target", ".slice", ".conf"]),
];

text!(
    /// What people are told at login; lines of printable characters.
    Motd,
    4096,
    |text| match text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        true => Err("a text for people has no characters that nobody sees, but for line ends and tabs".to_owned()),
        false => Ok(()),
    }
);

text!(
    /// One line for people: a reason, a name; without quotes and backslashes.
    Line,
    200,
    |text| match is_line(text) && !text.trim().is_empty() {
        true => Ok(()),
        false => Err(format!("{} is no line of text without quotes and backslashes", short(text))),
    }
);

text!(
    /// A word of a command, or the value of a variable: anything printable but `;` alone.
    Word,
    8192,
    |text| match text {
        // systemd begins another command behind it, and podman writes it there without the quotes that it had.
        ";" => Err("';' alone would end the command that it is a word of".to_owned()),
        _ if text.is_empty() || text.chars().any(char::is_control) => {
            Err(format!("{} is empty, or has characters that nobody sees", short(text)))
        }
        _ => Ok(()),
    }
);

impl Word {
    /// The word as one word of a unit's command, whatever it has in it (systemd.service(5), "Command lines": quotes, backslashes,
    /// `$` and `%` lose their meaning).
    pub fn quoted(&self) -> String {
        escaped(&self.0)
    }

    /// The word as a variable's value in a quadlet, which makes a word of podman's command of it: `$` has a meaning there too.
    pub fn assigned_to(&self, name: &VariableName) -> String {
        escaped(&format!("{name}={}", self.0))
    }
}

/// In quotes, with nothing in it that means something else than itself.
fn escaped(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '$' | '%' => quoted.extend([c, c]),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

text!(
    /// The name of an environment variable.
    VariableName,
    128,
    |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match plain && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit()) {
            true => Ok(()),
            false => Err(format!("{} is no variable's name: letters, digits and '_', no digit first", short(text))),
        }
    }
);

text!(
    /// A kernel parameter below /proc/sys, with dots or slashes, such as `net.core.somaxconn`.
    SysctlName,
    256,
    |text| {
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        match text.split(['.', '/']).all(plain) && text.contains(['.', '/']) && !text.starts_with('-') {
            true => Ok(()),
            false => Err(format!("{} is no kernel parameter, such as 'net.core.somaxconn'", short(text))),
        }
    }
);

text!(
    /// The value of a kernel parameter, as text: printable, without quotes and backslashes.
    SysctlValue,
    4096,
    |text| match !text.trim().is_empty() && is_plain(text) {
        true => Ok(()),
        false => Err(format!("{} is no kernel parameter's value: printable, without quotes", short(text))),
    }
);

text!(
    /// The name of a kernel module.
    ModuleName,
    64,
    |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        match plain && !text.is_empty() && !text.starts_with('-') {
            true => Ok(()),
            false => Err(format!("{} is no module's name: letters, digits, '_' and '-'", short(text))),
        }
    }
);

text!(
    /// A path from the top: letters, digits and `._-+@/`, no `..`.
    AbsolutePath,
    1024,
    |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+@/".contains(&byte));
        let parts = || text.split('/').skip(1);
        match plain && text.starts_with('/') && (text == "/" || parts().all(|part| !matches!(part, "" | "." | ".."))) {
            true => Ok(()),
            false => Err(format!("{} is no plain absolute path", short(text))),
        }
    }
);

text!(
    /// A systemd unit, such as `podman.service`.
    UnitName,
    255,
    |text| match is_unit(text) {
        true => Ok(()),
        false => Err(format!("{} is no unit, such as 'podman.service'", short(text))),
    }
);

text!(
    /// A time of day, `hh:mm`.
    TimeOfDay,
    5,
    |text| match text.len() == 5 && chrono::NaiveTime::parse_from_str(text, "%H:%M").is_ok() {
        true => Ok(()),
        false => Err(format!("{} is no time of day: 'hh:mm', from 00:00 to 23:59", short(text))),
    }
);

text!(
    /// A time zone, such as `Europe/Berlin`.
    Zone,
    64,
    |text| {
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-+".contains(&byte))
        };
        match text.split('/').all(plain) {
            true => Ok(()),
            false => Err(format!("{} is no time zone, such as 'Europe/Berlin'", short(text))),
        }
    }
);

text!(
    /// A channel's name: lower-case letters, digits and inner hyphens.
    ChannelName,
    64,
    |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        match plain && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') {
            true => Ok(()),
            false => Err(format!("{} is no channel: lower-case letters, digits and inner hyphens", short(text))),
        }
    }
);

text!(
    /// A release's version, or `latest`.
    Lock,
    64,
    |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+~^_".contains(&byte));
        match plain && !text.is_empty() {
            true => Ok(()),
            false => Err(format!("{} is neither a version nor 'latest'", short(text))),
        }
    }
);

text!(
    /// A raw file's path below /etc, in one of the folders that are allowed.
    RawPath,
    256,
    |text| {
        let sound = |folder: &str, ends: &[&str]| {
            let Some(name) = text.strip_prefix(folder) else { return false };
            let parts: Vec<&str> = name.split('/').collect();
            let plain = |part: &&str| {
                !part.starts_with('.') && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
            };
            // A file in the folder, or a drop-in of something: `x.service.d/10-y.conf`.
            let place = match parts.as_slice() {
                [_] => true,
                [folder, file] => folder.ends_with(".d") && file.ends_with(".conf"),
                _ => false,
            };
            place && parts.iter().all(plain) && ends.iter().any(|end| name.len() > end.len() && name.ends_with(end))
        };
        match RAW_FOLDERS.iter().any(|(folder, ends)| sound(folder, ends)) {
            true => Ok(()),
            false => {
                let folders: Vec<&str> = RAW_FOLDERS.iter().map(|(folder, _)| *folder).collect();
                Err(format!("{} is no file of these folders of /etc: {}", short(text), folders.join(", ")))
            }
        }
    }
);

text!(
    /// A raw file's text: lines of printable characters.
    RawText,
    RAW_BYTES,
    |text| match text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        true => Err("a raw file has no characters that nobody sees, but for line ends and tabs".to_owned()),
        false => Ok(()),
    }
);

/// Printable, in one line, nothing that ends a quoted text.
fn is_line(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || matches!(c, '"' | '\'' | '\\' | '`'))
}

fn is_unit(text: &str) -> bool {
    const KINDS: [&str; 8] = [".service", ".socket", ".target", ".timer", ".path", ".mount", ".slice", ".scope"];
    let stem = KINDS.iter().find_map(|kind| text.strip_suffix(kind)).unwrap_or_default();
    let plain = stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_.-@\\".contains(&byte));
    !stem.is_empty() && plain && !stem.starts_with(['-', '.', '@'])
}

/// Where release metadata lies: `docker://…`, `https://…`, `http://…` or `dir:/…`.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct ReleasePlace(Place);
written!(ReleasePlace, 2048);

impl ReleasePlace {
    /// The place.
    pub fn place(&self) -> &Place {
        &self.0
    }
}

impl FromStr for ReleasePlace {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match is_plain(text) {
            true => text.parse().map(Self).map_err(|error: rocketos_model::PlaceError| error.to_string()),
            false => Err(format!("{} has spaces, quotes or characters that nobody sees", short(text))),
        }
    }
}

impl fmt::Display for ReleasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Data for a container, as base64; at most 256 KiB of them. Shown to nobody, as a secret.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("writeOnly" = true, "contentEncoding" = "base64"))]
pub struct SecretData(Vec<u8>);

impl SecretData {
    /// The data: for the one container they are for.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for SecretData {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match STANDARD.decode(&text) {
            Ok(data) if data.len() <= DATA_BYTES => Ok(Self(data)),
            Ok(data) => Err(format!("it has {} bytes; at most {DATA_BYTES} are taken", data.len())),
            Err(_) => Err("it is not in base64, without line ends".to_owned()),
        }
    }
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(secret::SHOWN)
    }
}

/// Certificates: PEM, one or more, as base64 in one text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("contentEncoding" = "base64"))]
pub struct Certificates(Vec<String>);

impl Certificates {
    /// Each certificate, as PEM: what stood between them is left out.
    pub fn each(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<String> for Certificates {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > CERTIFICATE_BYTES {
            return Err(format!("it has {} bytes; at most {CERTIFICATE_BYTES} are taken", text.len()));
        }
        let bytes = STANDARD.decode(&text).map_err(|_| "it is not in base64, without line ends".to_owned())?;
        match pem(&bytes) {
            Err(_) => Err("no certificate can be read from it: PEM is expected, in base64".to_owned()),
            Ok(none) if none.is_empty() => Err("there is no certificate in it: PEM is expected, in base64".to_owned()),
            Ok(all) => Ok(Self(all)),
        }
    }
}

/// Every certificate of a text, written anew, so that two that say the same are the same; a private key that somebody left beside
/// them goes no further.
pub(crate) fn pem(text: &[u8]) -> Result<Vec<String>, ErrorStack> {
    let all = X509::stack_from_pem(text)?;
    // PEM is ASCII.
    all.iter().map(|one| Ok(String::from_utf8_lossy(&one.to_pem()?).into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::takes, *};

    #[test]
    fn takes_names_of_the_system_and_nothing_else() {
        takes::<VariableName>(&["PATH", "_a1"], &["1A", "A-B", "A=B", "A B"]);
        takes::<SysctlName>(
            &["vm.max_map_count", "net/ipv4/conf/eth0/rp_filter", "net.ipv4.conf.eth0-1.x"],
            &["vm", "-vm.x", "vm..x", "vm.x = 1", "../etc/passwd", "/vm/x", "vm.*"],
        );
        takes::<SysctlValue>(&["262144", "4096 131072 6291456"], &["\"1\"", " ", "a\\", "1\t2"]);
        takes::<ModuleName>(&["nf_conntrack", "snd-hda-intel"], &["-r", "a b", "a.ko", "../a"]);
        takes::<AbsolutePath>(
            &["/", "/var/lib/a_b", "/srv/a@b"],
            &["a", "/a/../b", "/a//b", "/a/", "/a b", "/a:b", "/a'"],
        );
        takes::<UnitName>(
            &["podman.service", "a@b.service", "dev-a\\x2db.mount"],
            &["podman", ".service", "a b.service", "-a.service"],
        );
        takes::<TimeOfDay>(&["00:00", "23:59"], &["24:00", "2:00", "02:60", "02-00"]);
        takes::<Zone>(&["UTC", "Europe/Berlin", "Etc/GMT+1"], &["../etc/passwd", "/UTC", "a b"]);
        takes::<ChannelName>(&["stable", "lts-1"], &["Stable", "-a", "a_b"]);
        takes::<Lock>(&["latest", "1.2.3~rc1"], &["1 2", "1/2"]);
        takes::<Line>(&["metrics, for the hosts"], &[" ", "a\"b", "a'b", "a\\b", "a`b`"]);
        takes::<ReleasePlace>(
            &["docker://registry.example/os", "https://a.example/b", "dir:/srv/a"],
            &["ftp://a", "dir:a", "dir:/a\"b"],
        );
    }

    #[test]
    fn a_word_stays_one_word_of_a_unit() {
        let quoted = |text: &str| text.parse::<Word>().unwrap().quoted();
        assert_eq!(quoted("plain"), "\"plain\"");
        assert_eq!(quoted(r#"a "b" \c $D %n 'e'"#), r#""a \"b\" \\c $$D %%n 'e'""#);
        let assigned = r#"a "b" \c $D %n"#.parse::<Word>().unwrap().assigned_to(&"X".parse().unwrap());
        assert_eq!(assigned, r#""X=a \"b\" \\c $$D %%n""#);
        takes::<Word>(&["-c", "echo \"hello\"", "ä", ";;", "a;"], &["a\tb", ";"]);
    }

    #[test]
    fn raw_files_stay_in_their_folders() {
        takes::<RawPath>(
            &[
                "sysctl.d/90-x.conf",
                "systemd/network/10-eth0.network",
                "systemd/network/10-eth0.network.d/x.conf",
                "systemd/system/a.service",
                "systemd/system/podman.service.d/10-a.conf",
                "containers/containers.conf.d/x.conf",
            ],
            &[
                "/etc/sysctl.d/x.conf",
                "sysctl.d/../passwd.conf",
                "sysctl.d/.conf",
                "sysctl.d/x",
                "systemd/system/a.wants/b.service",
                "systemd/system/a.service.d/b.service",
                "systemd/system/a.d/b.d/c.conf",
                "systemd/system.conf.d/x.conf",
                "containers/policy.json",
                "sysctl.d/a b.conf",
            ],
        );
        assert!("[Match]\nName=a\n\t# b\n".parse::<RawText>().is_ok());
        assert!("a\u{1b}".parse::<RawText>().is_err() && "x".repeat(RAW_BYTES + 1).parse::<RawText>().is_err());
        assert!("Hello.\n".parse::<Motd>().is_ok() && "\u{1b}[2J".parse::<Motd>().is_err());
    }

    #[test]
    fn data_are_base64_and_shown_to_nobody() {
        let data = SecretData::try_from(STANDARD.encode("hunter2")).unwrap();
        assert_eq!((data.reveal(), format!("{data:?}").as_str()), (b"hunter2".as_slice(), secret::SHOWN));
        assert!(SecretData::try_from("aHVudGVyMg==\n".to_owned()).unwrap_err().contains("base64"));
        let large = STANDARD.encode(vec![0; DATA_BYTES + 1]);
        assert!(SecretData::try_from(large).unwrap_err().contains("at most 262144"));
    }

    #[test]
    fn certificates_are_read_and_nothing_else_is_kept() {
        let key = openssl::pkey::PKey::from_ec_key(
            openssl::ec::EcKey::generate(
                &openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap(),
            )
            .unwrap(),
        )
        .unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&openssl::asn1::Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&openssl::asn1::Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(&key, openssl::hash::MessageDigest::sha256()).unwrap();
        let certificate = builder.build().to_pem().unwrap();
        let with_key = [key.private_key_to_pem_pkcs8().unwrap(), certificate.clone()].concat();
        let read = |pem: &[u8]| Certificates::try_from(STANDARD.encode(pem));
        assert_eq!(read(&certificate).unwrap().each().concat().as_bytes(), certificate);
        assert_eq!(read(&with_key).unwrap().each().concat().as_bytes(), certificate);
        for pem in [&b""[..], b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(read(pem).unwrap_err().contains("certificate"));
        }
    }
}

//! What is so on the node that runs: beneath its settings, and in what they come to.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    net::IpAddr,
    path::{Component, Path},
};

use rocketos_settings::{
    Settings,
    facts::{self, Found},
    render::{Facts, TRUST},
};

use super::{
    ConfigureError,
    error::io_at,
    place::{Content, Place},
};

/// What the firmware says of the machine.
const FIRMWARE: &str = "sys/class/dmi/id";
/// Characters of a machine-id (machine-id(5)); before there is one, its file says `uninitialized`.
const MACHINE_ID_CHARS: usize = 32;
/// Bytes of what the kernel tells.
const TOLD_BYTES: u64 = 1 << 20;
/// Files of certificates that an image may have.
const TRUSTED_FILES: usize = 2048;

impl Place {
    /// What is so on this node. What cannot be read is not known: nobody is refused anything because of it.
    pub fn found_out(&self) -> Found {
        let told = |path: &str| {
            let mut text = String::new();
            let file = File::open(self.root().join(path)).ok()?;
            file.take(TOLD_BYTES).read_to_string(&mut text).ok().map(|_| text)
        };
        let ipv4 = told("proc/net/fib_trie").map(|text| facts::ipv4(&text)).unwrap_or_default();
        let ipv6 = told("proc/net/if_inet6").map(|text| facts::ipv6(&text)).unwrap_or_default();
        Found {
            hostname: told("proc/sys/kernel/hostname"),
            machine_id: told("etc/machine-id").filter(|id| id.trim().len() == MACHINE_ID_CHARS),
            vendor: told(&format!("{FIRMWARE}/sys_vendor")),
            product: told(&format!("{FIRMWARE}/product_name")),
            addresses: ipv4.into_iter().map(IpAddr::from).chain(ipv6.into_iter().map(IpAddr::from)).collect(),
        }
    }

    /// What goes into files beside these settings.
    pub fn facts(&self, settings: &Settings) -> Result<Facts, ConfigureError> {
        let mut facts = Facts::default();
        // Otherwise nothing of what the image trusts is asked for.
        if settings.pki.values().any(|certificate| certificate.trusted.is_some()) {
            self.trusted(&mut facts)?;
        }
        Ok(facts)
    }

    /// Certificates that the image trusts: what settings placed is none of it, what they stand in the place of is.
    fn trusted(&self, facts: &mut Facts) -> Result<(), ConfigureError> {
        let folder = self.root().join(TRUST);
        let entries = match fs::read_dir(&folder) {
            // An image without any.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(io_at("reading", &folder))?,
        };
        let placed = self.manifest()?.files;
        for (at, entry) in entries.enumerate() {
            if at >= TRUSTED_FILES {
                let error = io::Error::other(format!("it has more than {TRUSTED_FILES} files"));
                return Err(io_at("reading", folder)(error));
            }
            let name = entry.map_err(io_at("reading", &folder))?.file_name();
            // Nothing of ours, nor of Debian's, has another name.
            let Some(path) = name.to_str().map(|name| format!("{TRUST}/{name}")) else { continue };
            let content = if placed.contains_key(&path) { self.kept(&path)? } else { self.read(&path)? };
            let bytes = match content {
                Some(Content::File { bytes, .. }) => bytes,
                // Another name, by the certificate's hash, of a file beside it.
                Some(Content::Link(target)) if is_beside(&target) => continue,
                Some(Content::Link(target)) => match self.linked(&folder, &target)? {
                    Some(bytes) => bytes,
                    None => continue,
                },
                // Settings brought it.
                None => continue,
            };
            facts.trusts(&path, &bytes).map_err(|source| ConfigureError::Trust { path: path.into(), source })?;
        }
        Ok(())
    }
}

fn is_beside(target: &Path) -> bool {
    let mut components = target.components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}

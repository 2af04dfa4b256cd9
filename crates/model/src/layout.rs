//! Every path on the disk and on the ESP.
//!
//! ```text
//! esp   loader/entries/rocketos-<sequence>-<id>[+tries].conf   boot entries
//!       EFI/rocketos/<id>/<kernel>.efi                         one sealed UKI per deployment
//!       EFI/BOOT, EFI/systemd                                  the loader; one that is tried has its digest in its name
//! root  composefs/{meta.json,objects,images,streams}           the store
//!       state/deploy/<id>/{origin,etc,settings}                one per deployment
//!       state/rocketos/{machine-id,lock,downloaded,pins/<id>}  the node's own memory
//!       state/rocketos/trust/<place>/…                         what release metadata said
//!       state/rocketos/host-containers/<name>                  which image a host container runs
//!       state/os/default/var                                   /var, unless it has a partition
//! ```

use sha2::{Digest as _, Sha256};

use crate::{DeploymentId, Place};

/// Paths on the root partition, relative to its top.
pub mod root {
    /// The store.
    pub const STORE: &str = "composefs";
    /// Objects of the store, the data layer of every mount.
    pub const STORE_OBJECTS: &str = "composefs/objects";
    /// Mountable images of the store, named by composefs digest.
    pub const STORE_IMAGES: &str = "composefs/images";
    /// One directory per deployment.
    pub const DEPLOY: &str = "state/deploy";
    /// What outlives deployments and must be writable when /var is full or locked.
    pub const NODE: &str = "state/rocketos";
    /// The node's machine-id, 32 hex digits and a newline.
    pub const MACHINE_ID: &str = "state/rocketos/machine-id";
    /// Who works on deployments now.
    pub const LOCK: &str = "state/rocketos/lock";
    /// The deployment that `upgrade --download-only` brought.
    pub const DOWNLOADED: &str = "state/rocketos/downloaded";
    /// One empty file per pinned deployment.
    pub const PINS: &str = "state/rocketos/pins";
    /// One file per release that failed here, named by manifest digest.
    pub const FAILED: &str = "state/rocketos/failed";
    /// Which loader was tried, and how often.
    pub const LOADER: &str = "state/rocketos/loader";
    /// One directory per place of release metadata.
    pub const TRUST: &str = "state/rocketos/trust";
    /// Who holds the reboot lock of a fleet: this node, while the file is there.
    pub const REBOOT_LOCK: &str = "state/rocketos/reboot-lock";
    /// How far the last scrub came, and what it left.
    pub const SCRUB: &str = "state/rocketos/scrub";
    /// One file per host container, by its name: which image it runs.
    pub const HOST_CONTAINERS: &str = "state/rocketos/host-containers";
    /// Who scrubs now.
    pub const SCRUB_LOCK: &str = "state/rocketos/scrub-lock";
    /// `/var` of every deployment, unless it has a partition.
    pub const VAR: &str = "state/os/default/var";
}

/// Names inside a deployment's directory.
pub mod deployment {
    /// What the deployment follows and is: [`crate::Origin`].
    pub const ORIGIN: &str = "origin";
    /// Whether it did its work.
    pub const VERDICT: &str = "verdict";
    /// Upper and work directory of a persistent /etc, where the image asks for one.
    pub const ETC: &str = "etc";
    /// The signatures by which it was accepted.
    pub const SIGNATURES: &str = "signatures";
    /// One file per host container that came with it, by its name: which image that is.
    pub const HOST_CONTAINERS: &str = "host-containers";
    /// Generations of its settings. The initramfs makes the folder, with a label of its own.
    pub const SETTINGS: &str = "settings";
}

/// Names inside the directory of a place of release metadata.
pub mod trust {
    /// The place, in words.
    pub const PLACE: &str = "place";
    /// The root metadata that somebody gave for this place; the image's where absent.
    pub const ROOT: &str = "root.json";
    /// The trusted metadata.
    pub const METADATA: &str = "metadata";
    /// The newest policy.
    pub const POLICY: &str = "policy.toml";
    /// One directory per channel.
    pub const CHANNELS: &str = "channels";
    /// In a channel's: its newest document.
    pub const DOCUMENT: &str = "document.json";
    /// In a channel's: the newest release that was accepted.
    pub const ACCEPTED: &str = "accepted.toml";
}

/// Paths on the EFI system partition, relative to its top.
pub mod esp {
    /// Boot entries (Boot Loader Specification, type 1).
    pub const ENTRIES: &str = "loader/entries";
    /// The loader's configuration.
    pub const LOADER_CONF: &str = "loader/loader.conf";
    /// One directory per deployment, holding its UKI.
    pub const UKIS: &str = "EFI/rocketos";
    /// The loader where firmware looks by itself (UEFI 2.10, 3.5.1.1).
    #[cfg(target_arch = "x86_64")]
    pub const LOADER_FALLBACK: &str = "EFI/BOOT/BOOTX64.EFI";
    /// The loader where firmware looks by itself (UEFI 2.10, 3.5.1.1).
    #[cfg(target_arch = "aarch64")]
    pub const LOADER_FALLBACK: &str = "EFI/BOOT/BOOTAA64.EFI";
    /// The loader where others look for it.
    #[cfg(target_arch = "x86_64")]
    pub const LOADER: &str = "EFI/systemd/systemd-bootx64.efi";
    /// The loader where others look for it.
    #[cfg(target_arch = "aarch64")]
    pub const LOADER: &str = "EFI/systemd/systemd-bootaa64.efi";
    /// Keys that the loader enrols in setup mode.
    pub const KEYS: &str = "loader/keys/auto";
    /// Arguments added on this machine: addons, which every kernel here is given.
    pub const ADDONS: &str = "loader/addons";
    /// User data of this machine, where somebody puts it.
    pub const USER_DATA: &str = "EFI/rocketos/user-data.toml";
    /// Loaders that boot variables name.
    pub const LOADERS: &str = "EFI/systemd";
}

/// Paths in an image.
pub mod image {
    /// Where the sealed UKI lies.
    pub const UKI: &str = "boot/EFI/Linux";
    /// The loader that install copies to the ESP.
    #[cfg(target_arch = "x86_64")]
    pub const LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
    /// The loader that install copies to the ESP.
    #[cfg(target_arch = "aarch64")]
    pub const LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootaa64.efi";
    /// What addons are made of.
    #[cfg(target_arch = "x86_64")]
    pub const ADDON_STUB: &str = "usr/lib/systemd/boot/efi/addonx64.efi.stub";
    /// What addons are made of.
    #[cfg(target_arch = "aarch64")]
    pub const ADDON_STUB: &str = "usr/lib/systemd/boot/efi/addonaa64.efi.stub";
    /// How /etc, /var and the root are to be mounted (composefs-setup-root's file).
    pub const SETUP_ROOT: &str = "usr/lib/composefs/setup-root-conf.toml";
    /// The root metadata that nodes of the image begin with.
    pub const TRUST_ROOT: &str = "usr/lib/rocketos/trust/root.json";
    /// User data that comes with the image.
    pub const USER_DATA: &str = "usr/lib/rocketos/user-data.toml";
    /// Defaults of `install`, drop-ins in order of their names.
    pub const INSTALL_CONFIG: &str = "usr/lib/bootc/install";
}

/// Paths in the initramfs, which is measured and signed with its UKI.
pub mod initramfs {
    /// The command line that was sealed; absent where the image takes any (`dev`).
    pub const CMDLINE: &str = "sealed/cmdline";
    /// Arguments that may be added to it: [`crate::cmdline::Allowed`].
    pub const ALLOWED: &str = "sealed/cmdline.allowed";
}

/// Paths on a running node.
pub mod node {
    /// The root partition, read-only.
    pub const SYSROOT: &str = "/sysroot";
    /// What the newest health checks came to.
    pub const HEALTH: &str = "/run/rocketos/health.json";
    /// What the initramfs found: [`crate::Booted`].
    pub const BOOTED: &str = "/run/rocketos/booted.toml";
    /// There where the initramfs found the ESP as a power cut leaves it.
    pub const UNCLEAN_ESP: &str = "/run/rocketos/unclean-esp";
    /// There where the initramfs found room on the disk behind the partitions that it knows, or in that of the root.
    pub const DISK_HAS_ROOM: &str = "/run/rocketos/disk-has-room";
    /// There where the initramfs found a release on trial.
    pub const ON_TRIAL: &str = "/run/rocketos/on-trial";
    /// What the firewall was loaded with.
    pub const FIREWALL: &str = "/run/rocketos/firewall.json";
    /// Arguments that may be added to the sealed ones; absent where the image takes any.
    pub const ALLOWED: &str = "/run/rocketos/cmdline.allowed";
    /// Objects that were mended while what runs had the damaged ones open; gone with the next boot.
    pub const MENDED: &str = "/run/rocketos/mended";
    /// Providers of user data that wait for the network, one a line; there where there are some.
    pub const USER_DATA_WAITS: &str = "/run/rocketos/user-data-waits";
    /// There once somebody was told that this boot is complete.
    pub const BOOT_TOLD: &str = "/run/rocketos/boot-told";
    /// There where the next scrub has to begin at the beginning.
    pub const SCRUB_ANEW: &str = "/run/rocketos/scrub-anew";
    /// What applying settings came to, and whose turn it is.
    pub const SETTINGS: &str = "/run/rocketos/settings";
    /// Changes of settings that somebody collects.
    pub const TRANSACTIONS: &str = "/run/rocketos/settings/transactions";
    /// Where the API is asked.
    pub const API_SOCKET: &str = "/run/rocketos/api.sock";
    /// Where somebody is asked who may look into every process.
    pub const IN_USE_SOCKET: &str = "/run/rocketos/in-use.sock";
    /// Where somebody is asked who may mount what others see.
    pub const MOUNTS_SOCKET: &str = "/run/rocketos/mounts.sock";
    /// What a host container is to run, a file each; placed by settings.
    pub const HOST_CONTAINERS: &str = "/etc/rocketos/host-containers";
    /// What host containers run on, a folder each.
    pub const HOST_CONTAINERS_RUN: &str = "/run/rocketos/host-containers";
    /// What outlives deployments.
    pub const VAR: &str = "/var";
    /// What outlives host containers, a folder each.
    pub const HOST_CONTAINERS_DATA: &str = "/var/lib/rocketos/host-containers";
    /// What settings placed in /etc and /run, with what was there before; of the life of /etc.
    pub const PLACED: &str = "/etc/rocketos/settings";
}

/// Names in the folder of a host container, below [`node::HOST_CONTAINERS_RUN`].
pub mod host_container {
    /// Where its image is mounted.
    pub const ROOT: &str = "root";
    /// A file system in memory, of its own, for what it writes in `/run` and `/tmp`.
    pub const MEMORY: &str = "memory";
    /// What is to be started.
    pub const PROCESS: &str = "process.json";
    /// Its user data, placed by settings.
    pub const USER_DATA: &str = "user-data";
    /// What stands before the name of a bootstrap container, which runs on the same.
    pub const BOOTSTRAP: &str = "bootstrap+";
}

/// Paths inside a host container, relative to its root. Its image gets them when it is made mountable: nothing can be made later.
pub mod inside {
    /// Folders that something is mounted on.
    pub const FOLDERS: [&str; 8] = ["dev", "proc", "sys", "run", "tmp", ".rocketos", PERSISTENT, HOST_ROOT];
    /// Files that something is mounted on.
    pub const FILES: [&str; 4] = [ENTER, PROCESS, USER_DATA, API_SOCKET];
    /// What outlives it.
    pub const PERSISTENT: &str = ".rocketos/persistent";
    /// The host's root, for who may do to the host whatever root may.
    pub const HOST_ROOT: &str = ".rocketos/rootfs";
    /// The program that becomes the image's.
    pub const ENTER: &str = ".rocketos/enter";
    /// What that program reads.
    pub const PROCESS: &str = ".rocketos/process.json";
    /// Its user data.
    pub const USER_DATA: &str = ".rocketos/user-data";
    /// Where it asks the API.
    pub const API_SOCKET: &str = ".rocketos/api.sock";
}

/// What a bootstrap container is called among host containers: their names have no such character.
pub fn bootstrap_container(name: &str) -> String {
    format!("{}{name}", host_container::BOOTSTRAP)
}

/// Which image a host container runs.
pub fn host_container(name: &str) -> String {
    format!("{}/{name}", root::HOST_CONTAINERS)
}

/// A deployment's directory on the root partition.
pub fn deployment_dir(id: &DeploymentId) -> String {
    format!("{}/{id}", root::DEPLOY)
}

/// Generations of a deployment's settings.
pub fn deployment_settings(id: &DeploymentId) -> String {
    format!("{}/{}", deployment_dir(id), deployment::SETTINGS)
}

/// Host containers of a deployment.
pub fn deployment_host_containers(id: &DeploymentId) -> String {
    format!("{}/{}", deployment_dir(id), deployment::HOST_CONTAINERS)
}

/// Which image of a host container came with a deployment.
pub fn deployment_host_container(id: &DeploymentId, name: &str) -> String {
    format!("{}/{name}", deployment_host_containers(id))
}

/// A deployment's directory on the ESP.
pub fn uki_dir(id: &DeploymentId) -> String {
    format!("{}/{id}", esp::UKIS)
}

/// The directory of a place of release metadata: named by a hash, for a place has any characters.
pub fn trust_dir(place: &Place) -> String {
    let hash = Sha256::digest(place.to_string());
    format!("{}/{}", root::TRUST, hex::encode(&hash[..16]))
}

/// The mark of a pinned deployment.
pub fn pin(id: &DeploymentId) -> String {
    format!("{}/{id}", root::PINS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page that people read.
    const PAGE: &str = include_str!("../../../docs/disk-layout.md");

    #[test]
    fn the_page_names_every_path() {
        for path in [
            root::STORE,
            root::STORE_OBJECTS,
            root::STORE_IMAGES,
            root::DEPLOY,
            root::MACHINE_ID,
            root::LOADER,
            root::LOCK,
            root::DOWNLOADED,
            root::PINS,
            root::FAILED,
            root::REBOOT_LOCK,
            root::HOST_CONTAINERS,
            root::SCRUB,
            root::SCRUB_LOCK,
            root::VAR,
            esp::ENTRIES,
            esp::LOADER_CONF,
            esp::KEYS,
            esp::ADDONS,
            esp::UKIS,
            esp::USER_DATA,
            #[cfg(target_arch = "x86_64")]
            esp::LOADER,
            #[cfg(target_arch = "x86_64")]
            esp::LOADER_FALLBACK,
        ] {
            assert!(PAGE.contains(path), "docs/disk-layout.md lacks {path}");
        }
        for name in [trust::PLACE, trust::ROOT, trust::METADATA, trust::POLICY]
            .map(|name| format!("{}/<place>/{name}", root::TRUST))
        {
            assert!(PAGE.contains(&name), "docs/disk-layout.md lacks {name}");
        }
        for name in [trust::DOCUMENT, trust::ACCEPTED] {
            let path = format!("{}/<place>/{}/<name>/{name}", root::TRUST, trust::CHANNELS);
            assert!(PAGE.contains(&path), "docs/disk-layout.md lacks {path}");
        }
        for name in [
            deployment::ORIGIN,
            deployment::VERDICT,
            deployment::ETC,
            deployment::SIGNATURES,
            deployment::SETTINGS,
            deployment::HOST_CONTAINERS,
        ] {
            let path = format!("{}/<id>/{name}", root::DEPLOY);
            assert!(PAGE.contains(&path), "docs/disk-layout.md lacks {path}");
        }
    }
}

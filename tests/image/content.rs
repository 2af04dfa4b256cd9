//! What a sealed image holds and, more so, what it does not.

use anyhow::{Result, ensure};
use rocketos_tests::images::podman_build;

use crate::published::{Published, data};

/// Where what only builds lies: no path of a sealed image begins so.
const BUILD: &[&str] = &[
    // Installing packages.
    "/etc/apt",
    "/etc/debconf",
    "/etc/dpkg",
    "/usr/bin/apt",
    "/usr/bin/deb",
    "/usr/bin/dpkg",
    "/usr/lib/apt",
    "/usr/lib/dpkg",
    "/usr/sbin/dpkg",
    "/usr/sbin/update-rc.d",
    "/usr/share/debconf",
    "/usr/share/dpkg",
    "/usr/share/keyrings/debian",
    "/var/cache",
    "/var/lib",
    // Perl.
    "/etc/perl",
    "/usr/bin/perl",
    "/usr/lib/x86_64-linux-gnu/perl",
    "/usr/share/perl",
    // Documents and languages.
    "/usr/share/doc",
    "/usr/share/i18n",
    "/usr/share/info",
    "/usr/share/locale/",
    "/usr/share/man",
    // Making an initramfs.
    "/etc/initramfs-tools",
    "/usr/sbin/mkinitramfs",
    "/usr/sbin/update-initramfs",
    "/usr/share/initramfs-tools",
    // Sealing.
    "/usr/lib/rocketos/init",
    "/usr/share/rocketos/seal",
    "/sealed",
    "/target",
    // Headers and sources.
    "/usr/include",
    "/usr/src/",
];
/// Modules a container node cannot use, below the folder of its release.
const DROPPED: &[&str] = &[
    "sound",
    "net/wireless",
    "net/mac80211",
    "net/bluetooth",
    "drivers/net/wireless",
    "drivers/gpu/drm/amd",
    "drivers/gpu/drm/i915",
    "drivers/media",
    "drivers/input/joystick",
];
/// Modules it needs, as a whole name: what loads a disk, the root, a server's network, containers' networks.
const NEEDED: &[&str] = &[
    "drivers/nvme/host/nvme",
    "fs/erofs/erofs",
    "drivers/net/ethernet/intel/ice/ice",
    "drivers/net/veth",
    "drivers/block/virtio_blk",
    "fs/overlayfs/overlay",
];

#[test]
fn nothing_of_the_build_is_in_a_sealed_image() -> Result<()> {
    let published = Published::new()?;
    let (_, pulled) = published.standalone()?;
    let files = pulled.files.iter().filter(|(_, entry)| !entry.is_folder()).map(|(path, _)| path);
    let found: Vec<&str> = files.filter(|path| BUILD.iter().any(|prefix| path.starts_with(prefix))).collect();
    ensure!(found.is_empty(), "{} files of the build: {:?}", found.len(), &found[..found.len().min(10)]);
    ensure!(pulled.files.has("/usr/bin/podman") && pulled.files.has("/usr/bin/rocketctl"), "programs are missing");
    Ok(())
}

#[test]
fn there_is_one_kernel_and_it_is_in_the_uki_alone() -> Result<()> {
    let published = Published::new()?;
    let (release, pulled) = published.standalone()?;
    let kernel = release.facts["kernel"].as_str().unwrap_or_default();
    let top = "/usr/lib/modules/";
    let releases: Vec<&str> =
        pulled.files.beginning(top).into_iter().filter(|path| !path[top.len()..].contains('/')).collect();
    ensure!(releases == [format!("{top}{kernel}")], "kernels: {releases:?}");
    let image = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.starts_with("vmlinu") || name.ends_with(".img")
    };
    let images: Vec<&str> = pulled.files.iter().map(|(path, _)| path).filter(image).collect();
    ensure!(images.is_empty(), "kernels beside the UKI's: {images:?}");
    ensure!(pulled.files.beginning("/boot/").is_empty(), "/boot is hidden on the node");
    ensure!(pulled.image.uki.name == format!("{kernel}.efi"), "the UKI is {}", pulled.image.uki.name);
    Ok(())
}

#[test]
fn modules_a_node_cannot_use_are_dropped_and_others_kept() -> Result<()> {
    let published = Published::new()?;
    let (release, pulled) = published.standalone()?;
    let top = format!("/usr/lib/modules/{}/kernel", release.facts["kernel"].as_str().unwrap_or_default());
    let dropped: Vec<&str> =
        DROPPED.iter().flat_map(|folder| pulled.files.beginning(&format!("{top}/{folder}/"))).collect();
    ensure!(dropped.is_empty(), "still there: {:?}", &dropped[..dropped.len().min(10)]);
    for module in NEEDED {
        ensure!(!pulled.files.beginning(&format!("{top}/{module}.ko")).is_empty(), "{module} is missing");
    }
    Ok(())
}

#[test]
fn lint_finds_nothing_in_standalone() -> Result<()> {
    let published = Published::new()?;
    let release = published.variant("standalone")?;
    lint(&published, &release.image, Whose::Ours)
}

#[test]
fn lint_finds_nothing_in_dev() -> Result<()> {
    let published = Published::new()?;
    let release = published.variant("dev")?;
    lint(&published, &release.image, Whose::Ours)
}

#[test]
fn lint_refuses_an_image_that_nobody_sealed() -> Result<()> {
    let published = Published::new()?;
    let error =
        lint(&published, "localhost/rocketos/standalone-rootfs", Whose::Ours).err().map(|error| format!("{error:#}"));
    let error = error.unwrap_or_default();
    ensure!(error.contains("fatal: build-only:") && error.contains("fatal: kernel:"), "lint said: {error}");
    Ok(())
}

#[test]
fn lint_warns_that_standalone_accepts_nothing() -> Result<()> {
    let published = Published::new()?;
    let release = published.variant("standalone")?;
    let error = lint(&published, &release.image, Whose::Theirs).err().map(|error| format!("{error:#}"));
    let error = error.unwrap_or_default();
    ensure!(error.contains("warning: trust-policy: the policy accepts nothing"), "lint said: {error}");
    Ok(())
}

/// Whose an image is: a stage of `tests/data/linted`.
#[derive(Debug, Clone, Copy)]
pub enum Whose {
    /// A variant of this checkout: nobody knows yet which keys its nodes should trust.
    Ours,
    /// Somebody else's.
    Theirs,
}

/// Lints an image where a person would: in a build, which needs no rights on this host.
pub fn lint(published: &Published, image: &str, whose: Whose) -> Result<()> {
    let stage = match whose {
        Whose::Ours => "ours",
        Whose::Theirs => "theirs",
    };
    published.progress.step(&format!("linting {image}"), || {
        podman_build()
            .args(["--no-cache", "--target", stage, "--build-arg"])
            .arg(format!("IMAGE={image}"))
            .arg(data("linted"))
            .quiet()
    })
}

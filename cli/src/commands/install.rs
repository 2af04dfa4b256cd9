//! `install`: from a blank disk to one that boots.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use rocketos_deploy::{Activation, Node, check_disk, check_filesystem, check_kernel, open_new_disk, populate, stage};
use rocketos_model::{Follow, ImageReference, layout};
use rocketos_oci::Resolved;
use rocketos_store::Verity;
use serde::Deserialize;

use crate::{
    adapters::repart,
    args::{Filesystem, Install, Source, ToDisk, ToFilesystem},
    channel,
    commands::firmware::Firmware,
    host_containers::{System, include},
    output::Reporter,
    pull::{self, Puller},
    trust::{Guard, Judged},
};

/// Where podman tells a container what it is.
const CONTAINERENV: &str = "/run/.containerenv";

/// Where podman's storage spools layers (containers-storage, `TMPDIR`'s default for what is big).
const SPOOL: &str = "/var/tmp";

/// Installs.
pub fn run(verb: &Install) -> anyhow::Result<()> {
    match verb {
        Install::ToDisk(args) => to_disk(args),
        Install::ToFilesystem(args) => to_filesystem(args),
    }
}

/// bootc's install configuration, as far as it concerns us.
#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    install: InstallConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct InstallConfig {
    root_fs_type: Option<String>,
    #[serde(default)]
    filesystem: FilesystemConfig,
    #[serde(default)]
    kargs: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct FilesystemConfig {
    #[serde(default)]
    root: RootConfig,
}

#[derive(Debug, Default, Deserialize)]
struct RootConfig {
    r#type: Option<String>,
}

/// The root's file system: as asked for, else as the drop-ins say, the last one winning.
fn filesystem(asked: Option<Filesystem>) -> anyhow::Result<Filesystem> {
    let directory = Path::new("/").join(layout::image::INSTALL_CONFIG);
    let mut files: Vec<PathBuf> = match fs::read_dir(&directory) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("listing {}", directory.display())),
    };
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut found = None;
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let config: Config = toml::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
        ensure!(
            config.install.kargs.is_empty(),
            "{} sets kernel arguments, but those of a sealed image are sealed with it; put them into \
             /usr/share/rocketos/seal.d/ of the image",
            file.display()
        );
        found = config.install.filesystem.root.r#type.or(config.install.root_fs_type).or(found);
    }
    match (asked, found.as_deref()) {
        (Some(filesystem), _) => Ok(filesystem),
        (None, None | Some("ext4")) => Ok(Filesystem::Ext4),
        (None, Some(other)) => bail!("the image asks for a root on {other}; supported is ext4"),
    }
}

/// The image this program runs in, as podman says.
fn own_image() -> anyhow::Result<ImageReference> {
    let text = fs::read_to_string(CONTAINERENV).map_err(|error| {
        anyhow!(error).context(format!(
            "{CONTAINERENV} is not there: run this in the image with 'podman run --privileged', or say --source-imgref"
        ))
    })?;
    let value = |key: &str| {
        text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.trim_matches('"').to_owned()))
    };
    let name = value("image").filter(|name| !name.is_empty());
    let name = name.or_else(|| value("imageid")).ok_or_else(|| {
        anyhow!("{CONTAINERENV} does not name an image: run the container with --privileged, or say --source-imgref")
    })?;
    Ok(ImageReference::Storage { name })
}

/// What is installed, and what the node follows afterwards.
fn references(source: &Source) -> anyhow::Result<(ImageReference, Follow)> {
    let from: ImageReference = match &source.source_imgref {
        Some(text) => text.parse()?,
        None => own_image()?,
    };
    let channel = match (&source.target_channel, &source.target_from) {
        (Some(name), Some(from)) => Some(channel::followed(name, from)?),
        _ => None,
    };
    let image = match &source.target_imgref {
        Some(text) => pull::reference(&source.target_transport, text)?,
        // podman's storage is not there on the node; the name under which it came from a registry is.
        None => match &from {
            ImageReference::Storage { name } => format!("docker://{name}").parse().with_context(|| {
                format!("'{name}' cannot be followed; say with --target-imgref what the node shall follow")
            })?,
            other => other.clone(),
        },
    };
    Ok((from, Follow { image, channel }))
}

/// Makes what reading podman's storage takes: it spools each layer to a directory that a container of a sealed image
/// lacks, since nothing has filled its /var.
fn prepare_spool(from: &ImageReference) -> anyhow::Result<()> {
    match from {
        ImageReference::Storage { .. } => fs::create_dir_all(SPOOL).with_context(|| format!("making {SPOOL}")),
        _ => Ok(()),
    }
}

/// Finds the image, and refuses what cannot boot or the policy does not allow, before the disk is touched.
fn find(
    source: &Source,
    from: &ImageReference,
    follow: &Follow,
    reporter: &Reporter,
) -> anyhow::Result<(Puller, Guard, Resolved, Judged)> {
    let guard = Guard::given_or(source.policy.as_deref(), Guard::of_installer)?;
    reporter.note(&guard.describe());
    let puller = Puller::new()?;
    let resolved = puller.resolve(from).with_context(|| format!("resolving {from}"))?;
    let judged = guard.require(&puller, &resolved, Some(&follow.image), reporter)?;
    pull::check_bootable(&resolved).with_context(|| format!("checking {from}"))?;
    Ok((puller, guard, resolved, judged))
}

fn to_disk(args: &ToDisk) -> anyhow::Result<()> {
    let Filesystem::Ext4 = filesystem(args.filesystem)?;
    let (from, follow) = references(&args.source)?;
    check_disk(&args.device, args.wipe)?;
    check_kernel()?;
    let loader = loader()?;
    let firmware = Firmware::prepare(&args.source, &loader)?;
    prepare_spool(&from)?;
    let reporter = Reporter::new(&args.source.progress)?;
    let (puller, guard, resolved, judged) = find(&args.source, &from, &follow, &reporter)?;

    reporter.step("Partitioning");
    repart::partition(&args.device, args.separate_var)?;
    let node = open_new_disk(&args.device, &loader)?;
    deploy(&node, (&puller, &guard), (&resolved, &judged), (&from, &follow), &reporter)?;
    firmware.leave(&node, &args.source.karg)?;
    println!("Installed {from} ({}) to {}.", resolved.manifest_digest, args.device.display());
    Ok(())
}

fn to_filesystem(args: &ToFilesystem) -> anyhow::Result<()> {
    let (from, follow) = references(&args.source)?;
    let root = &args.root;
    let esp = match &args.esp {
        Some(esp) => esp.clone(),
        None => [root.join("efi"), root.join("boot")]
            .into_iter()
            .find(|path| path.is_dir())
            .ok_or_else(|| anyhow!("no ESP at {0}/efi or {0}/boot; say --esp", root.display()))?,
    };
    let strangers: Vec<String> = fs::read_dir(root)
        .with_context(|| format!("listing {}", root.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !["lost+found", "efi", "boot"].contains(&name.as_str()))
        .collect();
    ensure!(strangers.is_empty(), "{} is not empty: it has {}", root.display(), strangers.join(", "));
    check_filesystem(root)?;
    let loader = loader()?;
    let firmware = Firmware::prepare(&args.source, &loader)?;
    prepare_spool(&from)?;
    let reporter = Reporter::new(&args.source.progress)?;
    let (puller, guard, resolved, judged) = find(&args.source, &from, &follow, &reporter)?;
    let node = populate(root, &esp, &loader, Verity::Required)?;
    deploy(&node, (&puller, &guard), (&resolved, &judged), (&from, &follow), &reporter)?;
    firmware.leave(&node, &args.source.karg)?;
    println!("Installed {from} ({}) to {}.", resolved.manifest_digest, root.display());
    Ok(())
}

fn deploy(
    node: &Node,
    (puller, guard): (&Puller, &Guard),
    (resolved, judged): (&Resolved, &Judged),
    (from, follow): (&ImageReference, &Follow),
    reporter: &Reporter,
) -> anyhow::Result<()> {
    reporter.step("Pulling");
    let image = puller.pull(resolved, &node.store, reporter).context("pulling the image")?;
    reporter.step("Staging");
    stage(node, &image, follow, Activation::Good).context("staging the first deployment")?;
    judged.keep(node)?;
    include(node, guard, puller, &System { image: resolved, from, follow: &follow.image }, reporter);
    reporter.step("Writing everything to the disk");
    node.flush()?;
    reporter.finish();
    Ok(())
}

fn loader() -> anyhow::Result<Vec<u8>> {
    let path = Path::new("/").join(layout::image::LOADER);
    fs::read(&path).with_context(|| format!("reading the loader {}", path.display()))
}

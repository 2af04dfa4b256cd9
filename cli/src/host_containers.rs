//! Host containers: their images brought under the policy of the system, and laid out to be run.
//!
//! `rocketos-host-container-image@<name>.service` asks for this, in the updater's domain, before the container's own unit starts.
//! Settings have written down what is to run (`rocketos_settings::render::ToRun`).

mod again;
mod include;
mod mounts;
mod program;
mod standing;

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use rocketos_api::Kind;
use rocketos_deploy::{DeployError, Ground, HostContainer, Lock, Node, roles};
use rocketos_model::{ImageReference, PlacedImage, Process, layout, limits};
use rocketos_oci::Resolved;
use rocketos_settings::render::ToRun;
use rocketos_store::ContainerImage;

use crate::{
    args::Progress,
    exit,
    output::Reporter,
    pull::{self, Puller},
    trust::Guard,
};

pub use again::look_again;
pub use include::{System, include};
pub use mounts::mount_for_others;
pub use program::program_in;
pub use standing::{Standing, Unit, standing};

/// How long others may work on the node before bringing an image is given up; systemd asks again.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often they are looked at meanwhile.
const RETRY: Duration = Duration::from_secs(2);

/// A name beside the system's image, which is beside nothing.
#[derive(Debug, thiserror::Error)]
#[error("{wanted} is beside the image of the system, and {origin}: name it whole, by settings")]
pub struct NoPlace {
    /// What settings ask for.
    wanted: String,
    /// Where the system is from.
    origin: String,
}

/// Has the image of a container of this node in place, and says what is to be started.
pub fn pull(name: &str) -> anyhow::Result<()> {
    let reporter = Reporter::new(&Progress { quiet: false, progress_fd: None })?;
    let to_run = read(name, Path::new(layout::node::HOST_CONTAINERS))?;
    let image = match present(&Node::running()?, name, &to_run)? {
        Some(image) => image,
        None => {
            let (node, _lock) = locked()?;
            let guard = Guard::of_roles(&node, &roles(&node)?)?;
            bring(&node, &guard, &Puller::new()?, name, &to_run, &reporter)?
        }
    };
    let ground = Ground::of(name);
    ground
        .lay(&image.facts.digest, &to_run.label, to_run.persistent)
        .with_context(|| format!("mounting the image of host container {name}"))?;
    write(&ground.process(), &process(&image, &to_run))
}

/// Takes away what a container ran on.
pub fn release(name: &str) -> anyhow::Result<()> {
    Ground::of(name).clear().with_context(|| format!("unmounting the image of host container {name}"))
}

/// Forgets images of containers that settings do not have any more. Those of deployments that do not run are theirs.
pub fn forget_absent(node: &Node, folder: &Path) -> anyhow::Result<()> {
    let is_absent = |name: &String| !folder.join(format!("{name}.toml")).exists();
    for name in node.host_containers()?.keys().filter(|name| is_absent(name)) {
        node.forget_host_container(name)?;
    }
    if let Some(booted) = node.booted_deployment() {
        for name in node.host_containers_of(&booted)?.keys().filter(|name| is_absent(name)) {
            node.forget_host_container_of(&booted, name)?;
        }
    }
    Ok(())
}

/// Names of those that settings have run, from the files in `folder`.
fn names(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let placed = rocketos_dropins::list(folder)?;
    let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.strip_suffix(".toml")?.to_owned());
    Ok(placed.iter().filter_map(name).collect())
}

/// What settings have of a container.
fn read(name: &str, folder: &Path) -> anyhow::Result<ToRun> {
    let path = folder.join(format!("{name}.toml"));
    let doing = || format!("reading {}, which settings place", path.display());
    let size = fs::metadata(&path).with_context(doing)?.len();
    ensure!(size <= limits::CONFIG_FILE_BYTES, "{} has more than {} bytes", path.display(), limits::CONFIG_FILE_BYTES);
    toml::from_str(&fs::read_to_string(&path).with_context(doing)?).with_context(doing)
}

/// The node, to change; who works on it is waited for.
fn locked() -> anyhow::Result<(Node, Lock)> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Node::locked("host-container") {
            Err(DeployError::Locked(_)) if Instant::now() < until => thread::sleep(RETRY),
            other => return Ok(other?),
        }
    }
}

/// The image that the node has of a container, whole; whatever settings ask for.
fn kept(node: &Node, name: &str) -> anyhow::Result<Option<(HostContainer, ContainerImage)>> {
    let container = match node.host_container(name) {
        // It is written anew with what comes.
        Err(DeployError::Format { .. }) => None,
        other => other?,
    };
    let Some(container) = container else { return Ok(None) };
    Ok(whole(node, &container)?.map(|image| (container, image)))
}

/// An image, where nothing of it is missing.
fn whole(node: &Node, container: &HostContainer) -> anyhow::Result<Option<ContainerImage>> {
    let image = node.store.open_container(&container.manifest_digest)?;
    Ok(image.filter(|image| image.facts.digest == container.composefs_digest))
}

/// The image that settings ask for, where it came with a deployment that is still there, the booted one's before others'.
fn came_along(node: &Node, to_run: &ToRun) -> anyhow::Result<Option<(HostContainer, ContainerImage)>> {
    let booted = node.booted_deployment();
    let others = node.deployments()?.into_iter().filter(|id| Some(*id) != booted);
    for id in booted.into_iter().chain(others) {
        for container in node.host_containers_of(&id)?.into_values() {
            if is_asked_for(node, &container, to_run)?
                && let Some(image) = whole(node, &container)?
            {
                return Ok(Some((container, image)));
            }
        }
    }
    Ok(None)
}

/// Remembers which image a container runs, and that what is booted runs it.
fn remember(node: &Node, name: &str, container: &HostContainer) -> anyhow::Result<()> {
    node.set_host_container(name, container)?;
    Ok(node.booted_deployment().map_or(Ok(()), |booted| node.set_host_container_of(&booted, name, container))?)
}

/// The image that settings ask for, where it is here.
fn present(node: &Node, name: &str, to_run: &ToRun) -> anyhow::Result<Option<ContainerImage>> {
    let Some((container, image)) = kept(node, name)? else { return Ok(None) };
    Ok(is_asked_for(node, &container, to_run)?.then_some(image))
}

/// By its digest, wherever it came from; or by its name.
fn is_asked_for(node: &Node, container: &HostContainer, to_run: &ToRun) -> anyhow::Result<bool> {
    match to_run.source.digest() {
        Some(digest) => Ok(container.manifest_digest == digest),
        None => Ok(place(node, to_run)?.is_ok_and(|reference| reference == container.image)),
    }
}

/// Where the image is that settings ask for: beside that of the system which is booted, where they say no more.
fn place(node: &Node, to_run: &ToRun) -> anyhow::Result<Result<ImageReference, NoPlace>> {
    if let PlacedImage::At(reference) = &to_run.source {
        return Ok(Ok(reference.clone()));
    }
    let origin = node.booted_deployment().map(|id| node.origin(&id)).transpose()?.flatten();
    let found = origin.as_ref().and_then(|origin| to_run.source.resolve(&origin.image));
    Ok(found.ok_or_else(|| NoPlace {
        wanted: to_run.source.to_string(),
        origin: match origin {
            Some(origin) => format!("that is {}, in no registry", origin.image),
            None => "nobody knows where that is from".to_owned(),
        },
    }))
}

/// Brings the image that settings ask for, where it is not here. Where nobody answers, the one that came before does.
fn bring(
    node: &Node,
    guard: &Guard,
    puller: &Puller,
    name: &str,
    to_run: &ToRun,
    reporter: &Reporter,
) -> anyhow::Result<ContainerImage> {
    let before = kept(node, name)?;
    let before = match before {
        Some((container, image)) if is_asked_for(node, &container, to_run)? => return Ok(image),
        other => other,
    };
    if let Some((container, image)) = came_along(node, to_run)? {
        remember(node, name, &container)?;
        return Ok(image);
    }
    match (fetch(node, guard, puller, to_run, reporter), before) {
        (Ok((reference, image)), _) => {
            let container = HostContainer {
                image: reference,
                manifest_digest: image.manifest_digest,
                composefs_digest: image.facts.digest,
            };
            remember(node, name, &container)?;
            Ok(image)
        }
        (Err(error), Some((container, image))) if is_out_of_reach(&error) => {
            reporter.note(&format!(
                "{} does not come, so that host container {name} goes on with {}: {}.",
                to_run.source,
                container.image,
                exit::chain(&error)
            ));
            Ok(image)
        }
        (Err(error), _) => Err(error.context(format!("bringing the image of host container {name}"))),
    }
}

/// Finds an image: where its name says, or beside `origin`. In a layout that is the very manifest of its digest.
pub fn find(
    puller: &Puller,
    image: &PlacedImage,
    origin: &ImageReference,
) -> anyhow::Result<Option<(ImageReference, Resolved)>> {
    if let Some(reference) = image.resolve(origin) {
        let resolved = puller.resolve(&reference).with_context(|| format!("resolving {reference}"))?;
        return Ok(Some((reference, resolved)));
    }
    let (ImageReference::Layout { .. } | ImageReference::Archive { .. }, Some(digest)) = (origin, image.digest())
    else {
        return Ok(None);
    };
    let resolved =
        puller.resolve_exactly(origin, digest).with_context(|| format!("looking for {image} in {origin}"))?;
    Ok(Some((origin.clone(), resolved)))
}

/// The same for this node.
fn locate(node: &Node, puller: &Puller, to_run: &ToRun) -> anyhow::Result<(ImageReference, Resolved)> {
    let nowhere = match place(node, to_run)? {
        Ok(reference) => {
            let resolved = puller.resolve(&reference).with_context(|| format!("resolving {reference}"))?;
            return Ok((reference, resolved));
        }
        Err(nowhere) => nowhere,
    };
    let origin = node.booted_deployment().map(|id| node.origin(&id)).transpose()?.flatten();
    match origin.map(|origin| find(puller, &to_run.source, &origin.image)) {
        Some(Ok(Some(found))) => Ok(found),
        // The stick may be gone.
        Some(Err(error)) => Err(NoPlace { origin: exit::chain(&error), ..nowhere }.into()),
        Some(Ok(None)) | None => Err(nowhere.into()),
    }
}

/// True where another time, or another place, may do.
fn is_out_of_reach(error: &anyhow::Error) -> bool {
    exit::kind_of(error) == Kind::Unreachable || error.chain().any(|cause| cause.is::<NoPlace>())
}

/// Finds, resolves, judges, pulls.
fn fetch(
    node: &Node,
    guard: &Guard,
    puller: &Puller,
    to_run: &ToRun,
    reporter: &Reporter,
) -> anyhow::Result<(ImageReference, ContainerImage)> {
    let (reference, resolved) = locate(node, puller, to_run)?;
    let image = take(node, guard, puller, (&reference, &resolved), reporter)?;
    Ok((reference, image))
}

/// Judges, pulls.
fn take(
    node: &Node,
    guard: &Guard,
    puller: &Puller,
    (reference, resolved): (&ImageReference, &Resolved),
    reporter: &Reporter,
) -> anyhow::Result<ContainerImage> {
    guard.require(puller, resolved, None, reporter)?;
    pull::check_architecture(resolved).with_context(|| format!("checking {reference}"))?;
    puller.pull_container(resolved, &node.store, reporter).with_context(|| format!("pulling {reference}"))
}

/// What is to be started: the image's word, and over it that of settings.
fn process(image: &ContainerImage, to_run: &ToRun) -> Process {
    let config = image.config.config().clone().unwrap_or_default();
    let entrypoint = config.entrypoint().clone().unwrap_or_default();
    let command = match to_run.command.is_empty() {
        true => config.cmd().clone().unwrap_or_default(),
        false => to_run.command.clone(),
    };
    let own = to_run.env.iter().map(|(name, value)| format!("{name}={value}"));
    Process {
        args: entrypoint.into_iter().chain(command).collect(),
        env: config.env().clone().unwrap_or_default().into_iter().chain(own).collect(),
        folder: config.working_dir().clone().unwrap_or_default(),
        user: config.user().clone().unwrap_or_default(),
    }
}

/// Writes down what is to be started; it is read by root alone.
fn write(path: &Path, process: &Process) -> anyhow::Result<()> {
    let doing = || format!("writing {}", path.display());
    let bytes = serde_json::to_vec(process).with_context(doing)?;
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).with_context(doing)?;
    file.write_all(&bytes).with_context(doing)
}

#[cfg(test)]
mod tests;

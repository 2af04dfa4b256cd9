//! Bringing an image, to boot next: resolve, judge, pull, stage. Nothing is said here; verbs do that.

use anyhow::{Context as _, ensure};
use rocketos_deploy::{Activation, DeployError, Node, Roles, prune, stage};
use rocketos_model::{Follow, ManifestDigest, Origin, labels};
use rocketos_oci::Resolved;
use rocketos_store::{Image, StoreError};
use rocketos_update::{Release, Version};

use crate::{
    exit,
    host_containers::{System, include},
    output::Reporter,
    pull::{self, Puller},
    scrub::Coming,
    trust::{Guard, Judged},
};

/// What bringing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The newest image runs, or boots next already.
    Current,
    /// A newer one is there (`--check`), and the policy allows it.
    Available,
    /// A newer one is there, and the policy does not allow it.
    Refused,
    /// The newest one failed here before.
    FailedBefore,
    /// The newest one is not of the version that this node takes alone.
    Locked,
    /// It is here, and boots when it is told to.
    Downloaded,
    /// It boots next.
    Staged,
}

/// What was brought, or would be.
pub struct Brought {
    pub outcome: Outcome,
    pub digest: ManifestDigest,
    /// What the policy says of it; absent where nothing is to be brought.
    pub judged: Option<Judged>,
}

/// What a channel says of a release, and the image that has its digest does not.
#[derive(Debug, thiserror::Error)]
#[error(
    "the channel's release {version} is an image of {what} '{found}', not '{expected}'; its publisher has to mend this"
)]
pub struct NotTheRelease {
    version: String,
    what: &'static str,
    found: String,
    expected: String,
}

/// What is to be brought.
pub struct Wanted<'a> {
    /// The image, and what its deployment follows.
    pub follow: &'a Follow,
    /// What the channel says that it is, where a channel led here.
    pub release: Option<&'a Release>,
    /// The only version that is brought, where no channel led here; any where absent.
    pub lock: Option<&'a Version>,
    pub activation: Activation,
    /// Only look.
    pub check: bool,
    /// Keep what runs.
    pub retain: bool,
    /// Try again what failed here.
    pub retry: bool,
}

impl<'a> Wanted<'a> {
    /// Whatever `follow` names now: what runs stays only as long as ever, and what failed here is not tried again.
    pub fn of(follow: &'a Follow, activation: Activation) -> Self {
        Self { follow, release: None, lock: None, activation, check: false, retain: false, retry: false }
    }
}

/// Resolves, judges, pulls and stages.
///
/// # Errors
/// When any of it fails. That the policy does not allow the image is no error but an outcome.
pub fn bring(
    node: &Node,
    current: &Roles,
    guard: &Guard,
    puller: &Puller,
    wanted: &Wanted<'_>,
    reporter: &Reporter,
) -> anyhow::Result<Brought> {
    let Wanted { follow, release, lock, activation, check, retain, retry } = *wanted;
    let reference = &follow.image;
    let containers = |resolved: &Resolved| {
        include(node, guard, puller, &System { image: resolved, from: reference, follow: reference }, reporter);
    };
    let keep = || match &current.booted {
        Some(booted) if retain => node.pin(&booted.id),
        _ => Ok(()),
    };
    let resolved = puller.resolve(reference).with_context(|| format!("resolving {reference}"))?;
    let digest = resolved.manifest_digest;
    if let Some(release) = release {
        check_release(&resolved, release)?;
    }
    let same = |deployment: &rocketos_deploy::Deployment| {
        let Origin { uki, manifest_digest, .. } = &deployment.origin;
        // One without its kernel would not boot.
        *manifest_digest == digest && deployment.origin.follow() == *follow && node.esp.has_uki(&deployment.id, uki)
    };
    if current.next().is_some_and(same) {
        keep()?;
        // What did not come with it then may come now; what runs asks by itself.
        if !check && node.booted_deployment() != Some(digest.deployment()) {
            containers(&resolved);
        }
        return Ok(Brought { outcome: Outcome::Current, digest, judged: None });
    }
    let version = || resolved.label(labels::VERSION).and_then(|version| version.parse::<Version>().ok());
    if lock.is_some_and(|lock| version().as_ref() != Some(lock)) {
        return Ok(Brought { outcome: Outcome::Locked, digest, judged: None });
    }
    if !retry && node.failures()?.iter().any(|failure| failure.manifest_digest == digest) {
        return Ok(Brought { outcome: Outcome::FailedBefore, digest, judged: None });
    }
    let downloaded = node.downloaded()? == Some(digest.deployment())
        && node.origin(&digest.deployment())?.is_some_and(|origin| origin.follow() == *follow);
    if activation == Activation::Later && downloaded && !check {
        containers(&resolved);
        return Ok(Brought { outcome: Outcome::Downloaded, digest, judged: None });
    }
    let judged = guard.judge(puller, &resolved, None)?;
    let accepted = judged.is_accepted();
    let line = judged.in_a_line();
    if !accepted {
        return Ok(Brought { outcome: Outcome::Refused, digest, judged: Some(judged) });
    }
    reporter.note(&line);
    if check {
        return Ok(Brought { outcome: Outcome::Available, digest, judged: Some(judged) });
    }
    keep()?;
    pull::check_bootable(&resolved).with_context(|| format!("checking {reference}"))?;
    make_room(node, reporter)?;
    check_esp(node, &resolved)?;
    let image =
        pull_whole(node, puller, &resolved, reporter).with_context(|| format!("pulling {reference} ({digest})"))?;
    reporter.step("Staging");
    stage(node, &image, follow, activation).with_context(|| format!("staging deployment {}", digest.deployment()))?;
    // It boots next already; without them `verify` asks the registry.
    if let Err(error) = judged.keep(node) {
        reporter.note(&format!("The signatures were not kept: {}.", exit::chain(&error.into())));
    }
    let outcome = if activation == Activation::Later {
        node.set_downloaded(Some(&digest.deployment()))?;
        Outcome::Downloaded
    } else {
        node.set_downloaded(None)?;
        node.forget_failure(&digest)?;
        Outcome::Staged
    };
    // It is final by now: none of them keeps it from booting.
    containers(&resolved);
    Ok(Brought { outcome, digest, judged: Some(judged) })
}

/// Makes room for what comes, from what nobody needs any more.
///
/// A store of which nobody knows what it needs keeps everything, and is no reason to stay: what comes may be what mends it. It is
/// refused where it does not fit.
fn make_room(node: &Node, reporter: &Reporter) -> anyhow::Result<()> {
    match prune(node, false) {
        Err(DeployError::Store(error @ (StoreError::Unlisted(_) | StoreError::Composefs { .. }))) => {
            reporter.note(&format!("No room was made: {}.", exit::chain(&error.into())));
            Ok(())
        }
        other => other.map(drop).context("making room"),
    }
}

/// Pulls, and mends what of the image is here and known to be damaged.
fn pull_whole(node: &Node, puller: &Puller, resolved: &Resolved, reporter: &Reporter) -> anyhow::Result<Image> {
    let mending = Coming::begin(node, puller, resolved, reporter)?;
    let image = puller.pull(resolved, &node.store, reporter)?;
    mending.map_or(Ok(()), |mending| mending.finish(node, resolved))?;
    Ok(image)
}

/// Refuses a kernel that the ESP has no room for before anything is fetched. It is sealed into the last layer, and does
/// not compress; staging measures the kernel itself.
fn check_esp(node: &Node, resolved: &Resolved) -> anyhow::Result<()> {
    let here = node.esp.ukis()?.contains(&resolved.manifest_digest.deployment());
    let missing = if here { 0 } else { resolved.layers.last().map_or(0, |layer| layer.size) };
    Ok(node.esp.check_room(missing)?)
}

/// Refuses an image that is not what the channel says: the digest alone says nothing of its version.
fn check_release(resolved: &Resolved, release: &Release) -> anyhow::Result<()> {
    ensure!(
        resolved.manifest_digest == release.digest,
        "the channel's digest of release {} is an index's ({}), not an image's; its publisher has to mend this",
        release.version,
        release.digest
    );
    let label = |key| resolved.label(key).unwrap_or_default().to_owned();
    let is = |what, found: String, expected: &str| match found == expected {
        true => Ok(()),
        false => {
            Err(NotTheRelease { version: release.version.to_string(), what, found, expected: expected.to_owned() })
        }
    };
    is("version", label(labels::VERSION), release.version.as_str())?;
    is("variant", label(labels::VARIANT), &release.variant)?;
    is("architecture", resolved.architecture(), &release.architecture)?;
    Ok(())
}

// Its images are for this architecture.
#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod faults;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rocketos_deploy::populate;
    use rocketos_model::ImageReference;
    use rocketos_store::Verity;
    use rocketos_trust::Refused;
    use serde_json::json;

    use super::*;
    use crate::{
        args::Progress,
        machine::{Machine, made::release},
    };

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

    /// Writes a blob of a layout; its descriptor.
    fn blob(layout: &Path, media_type: &str, content: &str) -> serde_json::Value {
        let hex: String = openssl::sha::sha256(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        fs::write(layout.join("blobs/sha256").join(&hex), content).unwrap();
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": content.len() })
    }

    /// An image that could boot, were its one layer not missing.
    fn image(layout: &Path) {
        let config = json!({
            "architecture": rocketos_oci::running_architecture(), "os": "linux",
            "config": { "Labels": { "containers.bootc": "1", labels::VERSION: "1.4" } },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", "ab".repeat(32))] },
        });
        let digest = format!("sha256:{}", "cd".repeat(32));
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": blob(layout, "application/vnd.oci.image.config.v1+json", &config.to_string()),
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": 10 }],
        });
        let index = json!({ "schemaVersion": 2, "manifests": [blob(layout, MANIFEST, &manifest.to_string())] });
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }

    /// Every file and folder below, with its size.
    fn everything(folder: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let meta = entry.metadata().unwrap();
            into.push(format!("{} {}", entry.path().display(), if meta.is_dir() { 0 } else { meta.len() }));
            if meta.is_dir() {
                everything(&entry.path(), into);
            }
        }
        into.sort();
    }

    #[test]
    fn a_damaged_list_keeps_nobody_from_an_upgrade() {
        let one = release("one");
        let mut machine = Machine::new(&[(&one, "oci:/nowhere")]);
        let reporter = Reporter::new(&Progress { quiet: true, progress_fd: None }).unwrap();
        let layer = machine.store().join("streams").join(format!("oci-layer-{}", one.layers[0].0));
        fs::write(fs::canonicalize(layer).unwrap(), b"spoilt").unwrap();
        let before = machine.files();
        prune(&machine.node, false).unwrap_err();
        make_room(&machine.node, &reporter).unwrap();
        assert_eq!(machine.files(), before);
        // What cannot be read for another reason is an error as before.
        machine.node.root = machine.folder.path().join("other");
        fs::create_dir_all(machine.node.root.join("state")).unwrap();
        fs::write(machine.node.root.join("state/deploy"), b"").unwrap();
        make_room(&machine.node, &reporter).unwrap_err();
    }

    #[test]
    fn what_the_policy_does_not_allow_is_neither_fetched_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, layout) = (folder.path().join("disk"), folder.path().join("layout"));
        fs::create_dir_all(disk.join("efi")).unwrap();
        let node = populate(&disk, &disk.join("efi"), b"MZ", Verity::Optional).unwrap();
        image(&layout);
        // By a link: the policy speaks of the place itself.
        std::os::unix::fs::symlink(&layout, folder.path().join("link")).unwrap();
        let reference: ImageReference = format!("oci:{}", folder.path().join("link").display()).parse().unwrap();
        let (follow, puller) = (Follow::from(reference), Puller::new().unwrap());
        let reporter = Reporter::new(&Progress { quiet: true, progress_fd: None }).unwrap();
        let path = folder.path().join("policy.toml");
        let at = |place: &str, accept: &str| format!("[layout.{:?}]\naccept = '{accept}'\n", folder.path().join(place));
        let key = "[key.k]\npem = '''\n-----BEGIN PUBLIC KEY-----\n\
                   MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n'''\n";
        let wanted = |check, retain| Wanted { check, retain, ..Wanted::of(&follow, Activation::Tried) };
        let signed = at("layout", "signed");
        for (policy, says) in [
            (String::new(), "the policy has no entry for oci:"),
            (at("layout", "nothing"), "accepts no image"),
            (at("link", "unsigned"), "the policy has no entry for oci:"),
            (format!("{key}{signed}keys = ['k']\n"), "wants a signature by k, and no signature was found"),
        ] {
            fs::write(&path, policy).unwrap();
            let guard = Guard::given_or(path.to_str(), Guard::of_node).unwrap();
            for check in [false, true] {
                let (mut before, mut after) = (Vec::new(), Vec::new());
                everything(&disk, &mut before);
                let brought =
                    bring(&node, &Roles::default(), &guard, &puller, &wanted(check, true), &reporter).unwrap();
                everything(&disk, &mut after);
                assert_eq!(brought.outcome, Outcome::Refused);
                let error = anyhow::Error::from(brought.judged.unwrap().verdict.require().unwrap_err());
                assert!(error.is::<Refused>() && error.to_string().contains(says), "{error}");
                assert_eq!(before, after);
            }
        }
        fs::write(&path, at("layout", "unsigned")).unwrap();
        let guard = Guard::given_or(path.to_str(), Guard::of_node).unwrap();
        let brought = bring(&node, &Roles::default(), &guard, &puller, &wanted(true, false), &reporter).unwrap();
        assert_eq!(brought.outcome, Outcome::Available);
        // Another version than the only one that is taken is not even looked at by the policy.
        for (lock, outcome) in [("1.4", Outcome::Available), ("1.4.1", Outcome::Locked)] {
            let lock = lock.parse().unwrap();
            let wanted = Wanted { lock: Some(&lock), ..wanted(true, false) };
            let brought = bring(&node, &Roles::default(), &guard, &puller, &wanted, &reporter).unwrap();
            assert_eq!((brought.outcome, brought.judged.is_some()), (outcome, outcome == Outcome::Available));
        }
        // Allowed, it is fetched: the layer is missed.
        let error = bring(&node, &Roles::default(), &guard, &puller, &wanted(false, false), &reporter).err().unwrap();
        assert!(crate::exit::chain(&error).contains("is missing"), "{error:#}");
    }
}

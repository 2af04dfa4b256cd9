//! `upgrade` and `switch`: bring an image, to boot next.

use anyhow::{Context as _, anyhow};
use rocketos_deploy::{Activation, Node, Roles, prune, roles, rollback, stage};
use rocketos_model::{ImageReference, ManifestDigest};
use rocketos_oci::Resolved;
use serde_json::json;

use crate::{
    adapters::systemctl,
    args::{Switch, Upgrade},
    output::Reporter,
    pull::{self, Puller},
    trust::{Guard, Judged},
};

/// What an upgrade came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The newest image runs, or boots next already.
    Current,
    /// A newer one is there (`--check`), and the policy allows it.
    Available,
    /// A newer one is there, and the policy does not allow it.
    Refused,
    /// It is here, and boots when it is told to.
    Downloaded,
    /// It boots next.
    Staged,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Available => "available",
            Self::Refused => "refused",
            Self::Downloaded => "downloaded",
            Self::Staged => "staged",
        }
    }
}

/// What was brought, or would be.
struct Brought {
    outcome: Outcome,
    digest: ManifestDigest,
    /// What the policy says of it; absent where nothing is to be brought.
    judged: Option<Judged>,
}

fn say(json: bool, reference: &ImageReference, brought: &Brought) {
    let Brought { outcome, digest, judged } = brought;
    if json {
        let trust = judged.as_ref().map(Judged::document);
        println!(
            "{}",
            json!({ "outcome": outcome.word(), "image": reference, "manifestDigest": digest, "trust": trust })
        );
        return;
    }
    match outcome {
        Outcome::Current => println!("No update available for {reference} ({digest})."),
        Outcome::Available => println!("Update available for {reference}: {digest}."),
        // The error says it all.
        Outcome::Refused => {}
        Outcome::Downloaded => {
            println!("Downloaded {digest}; 'rocketctl upgrade --from-downloaded' makes it boot next.")
        }
        Outcome::Staged => println!("Deployment {} ({digest}) boots next.", digest.deployment()),
    }
}

/// Says what was brought; a refusal is an error besides.
fn end(json: bool, reference: &ImageReference, brought: &Brought) -> anyhow::Result<()> {
    say(json, reference, brought);
    match &brought.judged {
        Some(judged) => Ok(judged.verdict.require()?),
        None => Ok(()),
    }
}

/// Brings the newest image of what this node follows.
pub fn upgrade(args: &Upgrade) -> anyhow::Result<()> {
    let (node, lock) = Node::locked("upgrade")?;
    let current = roles(&node)?;
    if args.from_downloaded {
        activate_downloaded(&node, args.json)?;
    } else {
        let followed =
            current.staged.as_ref().or(current.booted.as_ref()).ok_or_else(|| {
                anyhow!("the running deployment has no origin; 'rocketctl switch <image>' gives it one")
            })?;
        let reference = followed.origin.image.clone();
        let activation = if args.download_only { Activation::Later } else { Activation::Tried };
        let reporter = Reporter::new(&args.progress)?;
        let wanted = Wanted { reference: &reference, activation, check: args.check, retain: false };
        let brought = bring(&node, &current, &Guard::of_node()?, &wanted, &reporter)?;
        reporter.finish();
        end(args.json, &reference, &brought)?;
    }
    let pending = roles(&node)?.next().map(|next| next.id) != node.booted_deployment();
    drop((node, lock));
    match args.apply && pending {
        true => systemctl::reboot(),
        false => Ok(()),
    }
}

/// Follows another image from now on.
pub fn switch(args: &Switch) -> anyhow::Result<()> {
    let reference = pull::reference(&args.transport, &args.target)?;
    let (node, lock) = Node::locked("switch")?;
    let current = roles(&node)?;
    let reporter = Reporter::new(&args.progress)?;
    let wanted = Wanted { reference: &reference, activation: Activation::Tried, check: false, retain: args.retain };
    let brought = bring(&node, &current, &Guard::of_node()?, &wanted, &reporter)?;
    reporter.finish();
    end(args.json, &reference, &brought)?;
    let pending = roles(&node)?.next().map(|next| next.id) != node.booted_deployment();
    drop((node, lock));
    match args.apply && pending {
        true => systemctl::reboot(),
        false => Ok(()),
    }
}

/// What is to be brought.
struct Wanted<'a> {
    reference: &'a ImageReference,
    activation: Activation,
    /// Only look.
    check: bool,
    /// Keep what runs.
    retain: bool,
}

/// Resolves, judges, pulls and stages.
fn bring(
    node: &Node,
    current: &Roles,
    guard: &Guard,
    wanted: &Wanted<'_>,
    reporter: &Reporter,
) -> anyhow::Result<Brought> {
    let Wanted { reference, activation, check, retain } = *wanted;
    let keep = || match &current.booted {
        Some(booted) if retain => node.pin(&booted.id),
        _ => Ok(()),
    };
    let puller = Puller::new()?;
    let resolved = puller.resolve(reference).with_context(|| format!("resolving {reference}"))?;
    let digest = resolved.manifest_digest;
    let same = |deployment: &rocketos_deploy::Deployment| {
        deployment.origin.manifest_digest == digest && deployment.origin.image == *reference
    };
    if current.next().is_some_and(same) {
        keep()?;
        return Ok(Brought { outcome: Outcome::Current, digest, judged: None });
    }
    let judged = guard.judge(&puller, &resolved, None)?;
    let accepted = judged.is_accepted();
    let line = judged.in_a_line();
    let brought = |outcome| Brought { outcome, digest, judged: Some(judged) };
    if !accepted {
        return Ok(brought(Outcome::Refused));
    }
    reporter.note(&line);
    if check {
        return Ok(brought(Outcome::Available));
    }
    keep()?;
    pull::check_bootable(&resolved).with_context(|| format!("checking {reference}"))?;
    // Room first for what comes, from what nobody needs any more.
    prune(node, false).context("making room")?;
    check_esp(node, &resolved)?;
    let image =
        puller.pull(&resolved, &node.store, reporter).with_context(|| format!("pulling {reference} ({digest})"))?;
    reporter.step("Staging");
    stage(node, &image, reference, activation)
        .with_context(|| format!("staging deployment {}", digest.deployment()))?;
    if activation == Activation::Later {
        node.set_downloaded(Some(&digest.deployment()))?;
        return Ok(brought(Outcome::Downloaded));
    }
    node.set_downloaded(None)?;
    Ok(brought(Outcome::Staged))
}

/// Refuses a kernel that the ESP has no room for before anything is fetched. It is sealed into the last layer, and does
/// not compress; staging measures the kernel itself.
fn check_esp(node: &Node, resolved: &Resolved) -> anyhow::Result<()> {
    let here = node.esp.ukis()?.contains(&resolved.manifest_digest.deployment());
    let missing = if here { 0 } else { resolved.layers.last().map_or(0, |layer| layer.size) };
    Ok(node.esp.check_room(missing)?)
}

fn activate_downloaded(node: &Node, json: bool) -> anyhow::Result<()> {
    let id = node
        .downloaded()?
        .ok_or_else(|| anyhow!("nothing is downloaded; 'rocketctl upgrade --download-only' does that"))?;
    let deployment = rollback(node, Some(&id)).context("activating what was downloaded")?;
    node.set_downloaded(None)?;
    let digest = deployment.origin.manifest_digest;
    say(json, &deployment.origin.image, &Brought { outcome: Outcome::Staged, digest, judged: None });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rocketos_deploy::populate;
    use rocketos_store::Verity;
    use rocketos_trust::Refused;

    use super::*;
    use crate::args::Progress;

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
            "config": { "Labels": { "containers.bootc": "1" } },
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
    fn what_the_policy_does_not_allow_is_neither_fetched_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, layout) = (folder.path().join("disk"), folder.path().join("layout"));
        fs::create_dir_all(disk.join("efi")).unwrap();
        let node = populate(&disk, &disk.join("efi"), b"MZ", Verity::Optional).unwrap();
        image(&layout);
        // By a link: the policy speaks of the place itself.
        std::os::unix::fs::symlink(&layout, folder.path().join("link")).unwrap();
        let reference: ImageReference = format!("oci:{}", folder.path().join("link").display()).parse().unwrap();
        let reporter = Reporter::new(&Progress { quiet: true, progress_fd: None }).unwrap();
        let path = folder.path().join("policy.toml");
        let at = |place: &str, accept: &str| format!("[layout.{:?}]\naccept = '{accept}'\n", folder.path().join(place));
        let key = "[key.k]\npem = '''\n-----BEGIN PUBLIC KEY-----\n\
                   MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n'''\n";
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
                let wanted = Wanted { reference: &reference, activation: Activation::Tried, check, retain: true };
                let (mut before, mut after) = (Vec::new(), Vec::new());
                everything(&disk, &mut before);
                let brought = bring(&node, &Roles::default(), &guard, &wanted, &reporter).unwrap();
                everything(&disk, &mut after);
                assert_eq!(brought.outcome, Outcome::Refused);
                let error = end(false, &reference, &brought).unwrap_err();
                assert!(error.is::<Refused>() && error.to_string().contains(says), "{error}");
                assert_eq!(before, after);
            }
        }
        fs::write(&path, at("layout", "unsigned")).unwrap();
        let guard = Guard::given_or(path.to_str(), Guard::of_node).unwrap();
        let wanted = |check| Wanted { reference: &reference, activation: Activation::Tried, check, retain: false };
        let brought = bring(&node, &Roles::default(), &guard, &wanted(true), &reporter).unwrap();
        assert_eq!(brought.outcome, Outcome::Available);
        // Allowed, it is fetched: the layer is missed.
        let error = bring(&node, &Roles::default(), &guard, &wanted(false), &reporter).err().unwrap();
        assert!(crate::exit::chain(&error).contains("is missing"), "{error:#}");
    }
}

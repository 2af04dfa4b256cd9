//! `upgrade` and `switch`: bring an image, to boot next.

use std::fs;

use anyhow::{Context as _, anyhow, bail, ensure};
use rocketos_deploy::{Activation, Node, Roles, roles};
use rocketos_model::{Followed, ImageReference, Place, limits::CONFIG_FILE_BYTES};
use rocketos_update::Wish;
use serde_json::{Value, json};

use crate::{
    adapters::systemctl,
    advance::{self, Advanced, Arrived, Step, advance},
    args::{Switch, Upgrade},
    automatic::Schedule,
    bring::Outcome,
    channel,
    output::Reporter,
    pull::{self, Puller},
};

fn word(arrived: Arrived) -> &'static str {
    match arrived {
        Arrived::Waiting => "waiting",
        Arrived::Stuck => "stuck",
        Arrived::Brought(Outcome::Current) => "current",
        Arrived::Brought(Outcome::Available) => "available",
        Arrived::Brought(Outcome::Refused) => "refused",
        Arrived::Brought(Outcome::FailedBefore) => "failed-before",
        Arrived::Brought(Outcome::Locked) => "locked",
        Arrived::Brought(Outcome::Downloaded) => "downloaded",
        Arrived::Brought(Outcome::Staged) => "staged",
    }
}

/// For programs.
fn document(advanced: &Advanced) -> Value {
    let Advanced { arrived, follow, brought, said } = advanced;
    let mut document = json!({
        "outcome": word(*arrived),
        "image": follow.image,
        "manifestDigest": brought.digest,
        "trust": brought.judged.as_ref().map(crate::trust::Judged::document),
    });
    if let (Some(channel), Some((_, said))) = (&follow.channel, said) {
        document["channel"] = json!({ "name": channel.name, "from": channel.from, "says": said });
    }
    document
}

/// For people; nothing where the error says it all.
fn words(advanced: &Advanced) -> Option<String> {
    let Advanced { arrived, follow, brought, said } = advanced;
    let digest = brought.digest;
    let name = follow.channel.as_ref().map_or_else(|| follow.image.to_string(), |channel| format!("the {channel}"));
    let said = said.as_ref().map(|(text, _)| text.as_str()).unwrap_or_default();
    Some(match arrived {
        Arrived::Stuck | Arrived::Brought(Outcome::Refused) => return None,
        Arrived::Waiting => format!("No update from {name} yet: {said}."),
        Arrived::Brought(Outcome::Current) => format!("No update available for {name} ({digest})."),
        Arrived::Brought(Outcome::FailedBefore) => {
            format!(
                "No update from {name}: {digest} failed here ('rocketctl status' says why); --retry tries it again."
            )
        }
        Arrived::Brought(Outcome::Locked) => format!(
            "No update from {name}: {digest} is not of the version that this node takes alone (version-lock in update.toml)."
        ),
        Arrived::Brought(Outcome::Available) => format!("Update available for {name}: {digest}."),
        Arrived::Brought(Outcome::Downloaded) => {
            format!("Downloaded {digest}; 'rocketctl upgrade --from-downloaded' makes it boot next.")
        }
        Arrived::Brought(Outcome::Staged) => format!("Deployment {} ({digest}) boots next.", digest.deployment()),
    })
}

/// Says where a step led; a refusal, and having nowhere to go, are errors besides.
pub fn end(json: bool, advanced: &Advanced) -> anyhow::Result<()> {
    match (json, words(advanced)) {
        (true, _) => println!("{}", document(advanced)),
        (false, Some(words)) => println!("{words}"),
        (false, None) => {}
    }
    if let (Arrived::Stuck, Some((text, _))) = (advanced.arrived, &advanced.said) {
        bail!("{text}");
    }
    match &advanced.brought.judged {
        Some(judged) => Ok(judged.verdict.require()?),
        None => Ok(()),
    }
}

/// Reboots where that was asked for and something else boots next; the disk is let go first.
fn apply<L>(wanted: bool, node: Node, lock: L) -> anyhow::Result<()> {
    let pending = roles(&node)?.next().map(|next| next.id) != node.booted_deployment();
    drop((node, lock));
    match wanted && pending {
        true => systemctl::reboot(),
        false => Ok(()),
    }
}

/// Brings the newest image of what this node follows.
pub fn upgrade(args: &Upgrade) -> anyhow::Result<()> {
    let (node, lock) = Node::locked("upgrade")?;
    if args.from_downloaded {
        end(args.json, &advance::activate_downloaded(&node)?)?;
    } else {
        let reporter = Reporter::new(&args.progress)?;
        let step = Step {
            wish: Wish { now: args.now, retry: args.retry, by_hand: true },
            activation: if args.download_only { Activation::Later } else { Activation::Tried },
            check: args.check,
            retain: false,
        };
        let advanced = advance(&node, &roles(&node)?, &Schedule::of_node()?, step, &reporter)?;
        reporter.finish();
        end(args.json, &advanced)?;
    }
    apply(args.apply, node, lock)
}

/// What was typed, read before this machine is touched.
enum Target {
    Image(ImageReference),
    Channel { name: String, from: Option<Place>, root: Option<String> },
}

impl Target {
    fn of(args: &Switch) -> anyhow::Result<Self> {
        match (&args.target, &args.channel) {
            (Some(target), _) => Ok(Self::Image(pull::reference(&args.transport, target)?)),
            (None, Some(name)) => {
                channel::require_name(name)?;
                let from = args.from.as_deref().map(channel::place).transpose()?;
                Ok(Self::Channel { name: name.clone(), from, root: args.root.as_deref().map(read_root).transpose()? })
            }
            (None, None) => bail!("say which image to follow, or which channel: --channel <name> --from <place>"),
        }
    }
}

/// Follows another image, or a channel, from now on.
pub fn switch(args: &Switch) -> anyhow::Result<()> {
    let target = Target::of(args)?;
    let (node, lock) = Node::locked("switch")?;
    let current = roles(&node)?;
    let reporter = Reporter::new(&args.progress)?;
    let wish = Wish { by_hand: true, retry: args.target.is_some(), ..Wish::default() };
    let step = Step { wish, activation: Activation::Tried, check: false, retain: args.retain };
    let advanced = match target {
        Target::Image(reference) => {
            // Who names an image means it.
            advance::to(&node, &current, &Puller::new()?, &reference.into(), None, step, &reporter)?
        }
        Target::Channel { name, from, root } => {
            let channel = Followed { name, from: from.map_or_else(|| place_now(&current), Ok)? };
            let schedule = Schedule::of_node()?;
            advance::switch_to_channel(&node, &current, &channel, root.as_deref(), &schedule, step, &reporter)?
        }
    };
    reporter.finish();
    end(args.json, &advanced)?;
    apply(args.apply, node, lock)
}

/// Where the channel lies that is followed already.
fn place_now(current: &Roles) -> anyhow::Result<Place> {
    let now = current.followed().and_then(|followed| followed.origin.channel.clone());
    let now =
        now.ok_or_else(|| anyhow!("this node follows no channel yet: say where this one lies, by --from <place>"))?;
    Ok(now.from)
}

fn read_root(path: &std::path::Path) -> anyhow::Result<String> {
    let name = path.display();
    let size = fs::metadata(path).with_context(|| format!("reading {name}"))?.len();
    ensure!(size <= CONFIG_FILE_BYTES, "{name} has {size} bytes; at most {CONFIG_FILE_BYTES} are read");
    fs::read_to_string(path).with_context(|| format!("reading {name}"))
}

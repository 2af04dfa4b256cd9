//! One step along what a node follows: an image reference, or a channel.

use anyhow::{Context as _, anyhow, bail, ensure};
use chrono::Utc;
use rocketos_deploy::{Activation, Deployment, Node, Remembered, Roles, follow, rollback};
use rocketos_model::{Follow, Followed, ManifestDigest};
use rocketos_update::{Accepted, Channel, Decision, Version, Wish};
use serde_json::Value;

use crate::{
    automatic::Schedule,
    bring::{Brought, Outcome, Wanted, bring},
    channel::{self, Standing, Words, look, shipped_root},
    journal,
    output::Reporter,
    pull::Puller,
    trust::Guard,
};

/// How to go.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub wish: Wish,
    pub activation: Activation,
    /// Only look.
    pub check: bool,
    /// Keep what runs.
    pub retain: bool,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// As bringing the image ended.
    Brought(Outcome),
    /// The channel has something that this node does not take yet.
    Waiting,
    /// What boots next was recalled, and there is nothing to go to.
    Stuck,
}

/// Where a step led.
pub struct Advanced {
    pub arrived: Arrived,
    /// What the node follows.
    pub follow: Follow,
    /// What was brought, or boots next where nothing was.
    pub brought: Brought,
    /// What the channel was found to say: for people, and for programs.
    pub said: Option<(String, Value)>,
}

/// Takes a step along what the node follows, as the schedule says.
///
/// # Errors
/// When the node follows nothing, or any of it fails.
pub fn advance(
    node: &Node,
    current: &Roles,
    schedule: &Schedule,
    step: Step,
    reporter: &Reporter,
) -> anyhow::Result<Advanced> {
    let followed = current
        .followed()
        .ok_or_else(|| anyhow!("the running deployment has no origin; 'rocketctl switch <image>' gives it one"))?;
    let own = followed.origin.channel.as_ref();
    let puller = Puller::new()?;
    match schedule.channel.as_ref().or(own) {
        Some(channel) if own == Some(channel) || step.check => {
            along(node, current, &puller, channel, schedule, step, reporter)
        }
        // The files say another than what boots next came by: from now on it is that one.
        Some(channel) => switch_to_channel(node, current, channel, None, schedule, step, reporter),
        None => {
            let image = followed.origin.image.clone().into();
            to(node, current, &puller, &image, schedule.lock(), step, reporter)
        }
    }
}

/// Brings what an image reference names now; where there is a lock, if it is of that version.
pub fn to(
    node: &Node,
    current: &Roles,
    puller: &Puller,
    follow: &Follow,
    lock: Option<&Version>,
    step: Step,
    reporter: &Reporter,
) -> anyhow::Result<Advanced> {
    let Step { wish: Wish { retry, .. }, activation, check, retain } = step;
    let wanted = Wanted { lock, check, retain, retry, ..Wanted::of(follow, activation) };
    let brought = bring(node, current, &Guard::of_roles(node, current)?, puller, &wanted, reporter)?;
    Ok(Advanced { arrived: Arrived::Brought(brought.outcome), follow: follow.clone(), brought, said: None })
}

/// Reads a channel, decides, and brings what is to be taken.
pub fn along(
    node: &Node,
    current: &Roles,
    puller: &Puller,
    channel: &Followed,
    schedule: &Schedule,
    step: Step,
    reporter: &Reporter,
) -> anyhow::Result<Advanced> {
    let remembered = node.remembered(&channel.from);
    let made = current.booted.as_ref().and_then(|booted| booted.origin.created.as_deref());
    let root = shipped_root()?;
    let published = puller.wait(look(puller.reader(), channel, &remembered, root.as_deref(), made))?;
    if let Some(doubt) = &published.doubt {
        reporter.note(doubt);
    }
    let standing = Standing::of(node, current, channel, schedule)?;
    let document = &published.documents.channel;
    require_kind(document, &standing, channel)?;
    if let Some(accepted) = standing.to_remember() {
        keep_accepted(&remembered, channel, accepted)?;
    }
    let now = Utc::now();
    let wish = schedule.wish(step.wish);
    let decision = standing.decide(document, wish, now);
    let (text, said) = (Words(&decision).to_string(), Words(&decision).document());
    let Decision::Take { release, .. } = decision else {
        let next = current.next().context("the loader did not say what it booted")?;
        return Ok(stay(next, channel, &decision, (text, said)));
    };
    reporter.note(&format!("The {channel} says: {text}."));
    let patient = standing.decide(document, Wish { now: false, ..wish }, now);
    if patient != decision {
        let asks = if step.wish.now { "--now" } else { "ignore-waves in update.toml" };
        let text =
            format!("Release {} is taken before its turn, as {asks} asks: {}.", release.version, Words(&patient));
        reporter.note(&text);
        journal::say(journal::BEFORE_ITS_TURN, &text, &[("ROCKETOS_RELEASE", release.version.as_str())]);
    }
    // The newest policy from there counts already; where there is none, that of what runs.
    let guard = match remembered.policy()? {
        Some(_) => Guard::of_channel(&remembered)?,
        None => Guard::of_roles(node, current)?,
    };
    let follow = Follow { image: release.image.with_digest(release.digest), channel: Some(channel.clone()) };
    let Step { wish: Wish { retry, .. }, activation, check, retain } = step;
    let wanted = Wanted { release: Some(release), check, retain, retry, ..Wanted::of(&follow, activation) };
    let brought = bring(node, current, &guard, puller, &wanted, reporter)?;
    if brought.outcome == Outcome::Staged {
        let accepted = Accepted { version: release.version.clone(), digest: release.digest };
        keep_accepted(&remembered, channel, &accepted)?;
    }
    Ok(Advanced { arrived: Arrived::Brought(brought.outcome), follow, brought, said: Some((text, said)) })
}

/// Nothing is to be brought.
fn stay(next: &Deployment, channel: &Followed, decision: &Decision<'_>, said: (String, Value)) -> Advanced {
    let arrived = match decision {
        Decision::Wait { .. } => Arrived::Waiting,
        Decision::Stuck { .. } => Arrived::Stuck,
        Decision::Take { .. } | Decision::UpToDate => Arrived::Brought(Outcome::Current),
    };
    let brought = Brought { outcome: Outcome::Current, digest: next.origin.manifest_digest, judged: None };
    let follow = Follow { image: next.origin.image.clone(), channel: Some(channel.clone()) };
    Advanced { arrived, follow, brought, said: Some(said) }
}

/// A channel that can never have anything for this node is a mistake.
fn require_kind(document: &Channel, standing: &Standing, channel: &Followed) -> anyhow::Result<()> {
    let (variant, architecture) = standing.kind();
    let ours = document.releases.iter().any(|one| one.variant == variant && one.architecture == architecture);
    ensure!(
        ours || document.releases.is_empty(),
        "the {channel} has no release of the variant {variant} for {architecture}"
    );
    Ok(())
}

fn keep_accepted(remembered: &Remembered, channel: &Followed, accepted: &Accepted) -> anyhow::Result<()> {
    let text = toml::to_string(accepted).context("writing down what was accepted")?;
    Ok(remembered.keep_accepted(&channel.name, &text)?)
}

/// Makes what boots next follow a channel, and takes the first step along it. `root` is root metadata for the place,
/// in place of the image's.
pub fn switch_to_channel(
    node: &Node,
    current: &Roles,
    channel: &Followed,
    root: Option<&str>,
    schedule: &Schedule,
    step: Step,
    reporter: &Reporter,
) -> anyhow::Result<Advanced> {
    let puller = Puller::new()?;
    if let Some(root) = root {
        // Nothing is remembered of a root that leads to nothing.
        let scratch = tempfile::tempdir().context("making a directory for metadata")?;
        let state = rocketos_trust::tuf::State::open(scratch.path())?;
        puller.wait(channel::read(puller.reader(), channel, state, Some(root.as_bytes())))?;
        node.remembered(&channel.from).keep_root(root)?;
    }
    let advanced = along(node, current, &puller, channel, schedule, step, reporter)?;
    let staged = matches!(advanced.arrived, Arrived::Brought(Outcome::Staged | Outcome::Refused));
    if !staged && let Some(next) = current.next() {
        follow(node, &next.id, &advanced.follow)?;
    }
    Ok(advanced)
}

/// Makes what `upgrade --download-only` brought boot next.
pub fn activate_downloaded(node: &Node) -> anyhow::Result<Advanced> {
    let id = node
        .downloaded()?
        .ok_or_else(|| anyhow!("nothing is downloaded; 'rocketctl upgrade --download-only' does that"))?;
    let origin = node.origin(&id)?.ok_or_else(|| anyhow!("deployment {id}, which was downloaded, is gone"))?;
    let remembered = origin.channel.as_ref().map(|channel| (channel, node.remembered(&channel.from)));
    if let Some((channel, remembered)) = &remembered
        && let Some(reason) = recalled(remembered, channel, &origin.manifest_digest)?
    {
        bail!("what was downloaded was recalled since: {reason}");
    }
    let deployment = rollback(node, Some(&id)).context("activating what was downloaded")?;
    node.set_downloaded(None)?;
    node.forget_failure(&origin.manifest_digest)?;
    if let Some((channel, remembered)) = &remembered
        && let Some(version) = origin.version.as_deref().and_then(|version| version.parse().ok())
    {
        keep_accepted(remembered, channel, &Accepted { version, digest: origin.manifest_digest })?;
    }
    let brought = Brought { outcome: Outcome::Staged, digest: deployment.origin.manifest_digest, judged: None };
    let arrived = Arrived::Brought(Outcome::Staged);
    Ok(Advanced { arrived, follow: deployment.origin.follow(), brought, said: None })
}

/// Why the channel's newest document recalled a release, where it did.
fn recalled(remembered: &Remembered, channel: &Followed, digest: &ManifestDigest) -> anyhow::Result<Option<String>> {
    let Some(text) = remembered.document(&channel.name)? else { return Ok(None) };
    let document = Channel::parse(text.as_bytes())?;
    Ok(document.releases.into_iter().find(|release| release.digest == *digest).and_then(|release| release.recalled))
}

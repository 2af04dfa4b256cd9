//! Whether an image may be brought: finds the policy and the signatures, and has `rocketos-trust` judge.
//!
//! Every verb that brings an image asks here after resolving it and before anything is fetched or written.

mod judged;
mod signatures;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rocketos_deploy::{DeployError, Node, Remembered, Roles, roles};
use rocketos_model::{ImageReference, ManifestDigest, layout};
use rocketos_oci::Resolved;
use rocketos_trust::{Kept, KeptError, Outcome, Policy, Subject, Verdict, judge};

pub use self::judged::Judged;
use self::signatures::Found;
use crate::{output::Reporter, pull::Puller};

/// Whose policy `Policy::read` finds below here.
const ROOT: &str = "/";
/// What accepts anything, in a word that has to be typed.
const UNSIGNED: &str = "unsigned";
/// podman's registry for what was built here; no host bears the name.
const LOCAL: &str = "localhost";

/// Where a policy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// The node that runs, image and /etc.
    Node,
    /// The channel that the node follows.
    Channel,
    /// The image that the installer runs in.
    Installer,
    /// A file that somebody named.
    File(PathBuf),
    /// The word.
    Typed,
}

/// A policy at work.
#[derive(Debug)]
pub struct Guard {
    pub(crate) policy: Policy,
    origin: Origin,
}

impl Guard {
    /// The policy of the node that runs.
    pub fn of_node() -> anyhow::Result<Self> {
        let policy = Policy::read(Path::new(ROOT)).context("reading the policy of this node")?;
        Ok(Self { policy, origin: Origin::Node })
    }

    /// The policy of the node that runs, where it follows a channel from there: the newest one from there outranks the
    /// image's.
    pub fn of_channel(remembered: &Remembered) -> anyhow::Result<Self> {
        let Some(text) = remembered.policy()? else { return Self::of_node() };
        let newest = Some((layout::trust::POLICY.as_ref(), text.as_str()));
        let policy = Policy::read_outranked(Path::new(ROOT), newest).context("reading the policy of this node")?;
        Ok(Self { policy, origin: Origin::Channel })
    }

    /// The policy of the node that runs, whatever it follows; on a machine that is no node, that of its files.
    pub fn of_machine() -> anyhow::Result<Self> {
        let node = match Node::running() {
            Err(DeployError::NotBooted { .. }) => return Self::of_node(),
            other => other?,
        };
        Self::of_roles(&node, &roles(&node)?)
    }

    /// The same of a node that is open.
    pub fn of_roles(node: &Node, roles: &Roles) -> anyhow::Result<Self> {
        match roles.followed().and_then(|followed| followed.origin.channel.as_ref()) {
            Some(channel) => Self::of_channel(&node.remembered(&channel.from)),
            None => Self::of_node(),
        }
    }

    /// The policy that was given (a file, or the word `unsigned`), else that of the image this runs in.
    pub fn given_or(given: Option<&str>, otherwise: fn() -> anyhow::Result<Self>) -> anyhow::Result<Self> {
        let Some(given) = given else { return otherwise() };
        if given == UNSIGNED {
            let text = format!("[default]\naccept = \"{UNSIGNED}\"\n");
            let policy = Policy::parse(Path::new("--policy unsigned"), &text)?;
            return Ok(Self { policy, origin: Origin::Typed });
        }
        let path = PathBuf::from(given);
        let policy = Policy::read_file(&path).with_context(|| format!("reading the policy {given}"))?;
        Ok(Self { policy, origin: Origin::File(path) })
    }

    /// The policy of the image that the installer runs in.
    pub fn of_installer() -> anyhow::Result<Self> {
        let policy = Policy::read(Path::new(ROOT)).context("reading the policy of the image this runs in")?;
        Ok(Self { policy, origin: Origin::Installer })
    }

    /// What the policy says, for people.
    pub fn describe(&self) -> String {
        let whose = match &self.origin {
            Origin::Node => "this node's".to_owned(),
            Origin::Channel => "the newest of the channel that this node follows".to_owned(),
            Origin::Installer => "that of the image this runs in".to_owned(),
            Origin::File(path) => path.display().to_string(),
            Origin::Typed => "--policy unsigned".to_owned(),
        };
        format!("The policy is {whose}:\n    {}", self.policy.to_string().trim_end().replace('\n', "\n    "))
    }

    /// What the policy says of an image. `also` is a name under which signatures of it may lie too.
    pub fn judge(&self, puller: &Puller, resolved: &Resolved, also: Option<&ImageReference>) -> anyhow::Result<Judged> {
        let manifest = resolved.manifest_digest;
        let mut refused = Vec::new();
        // The manifest first; then whatever led to it: who signs an index signs what it names.
        for (at, bytes) in std::iter::once(&resolved.manifest).chain(&resolved.indexes).enumerate() {
            let subject = Subject::of(bytes);
            let verdict = self.look(judge(&self.policy, &resolved.reference, &subject, &[]));
            if verdict.demands.is_empty() {
                return Ok(Judged { verdict, manifest, kept: None });
            }
            let found = puller.wait(find(puller, resolved, also, subject.digest()));
            let verdict = judge(&self.policy, &resolved.reference, &subject, &found.signatures);
            match (verdict.outcome, found.failure) {
                (Outcome::Signed, _) => {
                    let kept = Some(Kept::of(&verdict, &found.signatures, &resolved.indexes[..at]));
                    return Ok(Judged { verdict, manifest, kept });
                }
                // What did not answer may have what is missing: no verdict.
                (_, Some(failure)) => {
                    let what = format!("looking for signatures of {} ({})", resolved.reference, subject.digest());
                    return Err(anyhow::Error::new(failure).context(what));
                }
                (_, None) => refused.push(verdict),
            }
        }
        // Of several refusals the one that found something says most.
        let at = refused.iter().position(|verdict| !verdict.signatures.is_empty()).unwrap_or(0);
        Ok(Judged { verdict: refused.swap_remove(at), manifest, kept: None })
    }

    /// What the policy says of an image that is here, by the signatures that were kept when it came.
    pub fn judge_kept(
        &self,
        reference: &ImageReference,
        manifest: &[u8],
        kept: Option<&Kept>,
    ) -> Result<Judged, KeptError> {
        let own = Subject::of(manifest).digest();
        let (subject, signatures) = match kept {
            Some(kept) => (kept.subject(manifest)?, kept.signatures()?),
            None => (Subject::of(manifest), Vec::new()),
        };
        let verdict = self.look(judge(&self.policy, reference, &subject, &signatures));
        Ok(Judged { verdict, manifest: own, kept: kept.cloned() })
    }

    /// Judges, says what decided, and passes only what is accepted.
    pub fn require(
        &self,
        puller: &Puller,
        resolved: &Resolved,
        also: Option<&ImageReference>,
        reporter: &Reporter,
    ) -> anyhow::Result<Judged> {
        let judged = self.judge(puller, resolved, also)?;
        judged.verdict.require()?;
        reporter.note(&judged.in_a_line());
        Ok(judged)
    }

    /// Says what a person can do about a refusal here. That podman may run any container, as distributions let it, is no
    /// word on what a node may become.
    fn look(&self, mut verdict: Verdict) -> Verdict {
        let say = match self.origin {
            Origin::Installer => "say --policy <file>, or --policy unsigned to install whatever it is",
            Origin::Node => "write what is accepted into /etc/rocketos/trust/policy.toml",
            Origin::Channel | Origin::File(_) | Origin::Typed => return verdict,
        };
        if self.policy.is_for_containers() && verdict.outcome == Outcome::Unsigned {
            verdict.outcome = Outcome::Refused;
            verdict.reason = format!("{}, but that was said of containers, not of a node; {say}", verdict.reason);
        } else if self.origin == Origin::Installer && verdict.outcome == Outcome::Refused && verdict.rule.is_none() {
            verdict.reason = format!("{}; {say}", verdict.reason);
        }
        verdict
    }
}

/// Every signature of a digest, wherever it may lie.
async fn find(puller: &Puller, resolved: &Resolved, also: Option<&ImageReference>, digest: ManifestDigest) -> Found {
    let mut found = Found::default();
    if let Some(mut beside) = resolved.beside() {
        found.gather(&mut beside, digest).await;
        return found;
    }
    for place in registries(&resolved.reference, also) {
        match puller.reader().beside(&place) {
            Ok(mut beside) => found.gather(&mut beside, digest).await,
            Err(error) => found.missed(&place.to_string(), error),
        }
    }
    found
}

/// The repositories that an image in podman's storage may have come from: that of its name, and of `also`.
fn registries(reference: &ImageReference, also: Option<&ImageReference>) -> Vec<ImageReference> {
    let named = match reference {
        // `[driver@root+runroot]name`
        ImageReference::Storage { name } => {
            format!("docker://{}", name.rsplit_once(']').map_or(name.as_str(), |(_, name)| name)).parse().ok()
        }
        _ => None,
    };
    let mut all: Vec<ImageReference> = Vec::new();
    for place in named.into_iter().chain(also.cloned()) {
        let ImageReference::Registry { registry, .. } = &place else { continue };
        if registry != LOCAL && !all.iter().any(|other| same_repository(other, &place)) {
            all.push(place);
        }
    }
    all
}

fn same_repository(one: &ImageReference, other: &ImageReference) -> bool {
    let repository = |reference: &ImageReference| match reference {
        ImageReference::Registry { registry, repository, .. } => Some((registry.clone(), repository.clone())),
        _ => None,
    };
    repository(one) == repository(other)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn guard(origin: Origin, name: &str, text: &str) -> Guard {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        Guard { policy: Policy::read(root.path()).unwrap(), origin }
    }

    fn verdict(guard: &Guard) -> Verdict {
        let reference = "docker://registry.example/rocketos/node:1".parse().unwrap();
        guard.look(judge(&guard.policy, &reference, &Subject::of(b"{}"), &[]))
    }

    #[test]
    fn takes_no_word_on_containers_for_one_on_nodes() {
        let accepts_anything = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        let path = "etc/containers/policy.json";
        for (origin, advice) in
            [(Origin::Installer, "--policy unsigned"), (Origin::Node, "/etc/rocketos/trust/policy.toml")]
        {
            let refused = verdict(&guard(origin, path, accepts_anything));
            assert_eq!(refused.outcome, Outcome::Refused);
            assert!(
                refused.reason.contains("said of containers") && refused.reason.contains(advice),
                "{}",
                refused.reason
            );
        }
        // Who names the file has chosen it.
        assert_eq!(verdict(&guard(Origin::File("x".into()), path, accepts_anything)).outcome, Outcome::Unsigned);
        let ours = "[default]\naccept = 'unsigned'\n";
        let path = "usr/lib/rocketos/trust/policy.toml";
        assert_eq!(verdict(&guard(Origin::Installer, path, ours)).outcome, Outcome::Unsigned);
    }

    #[test]
    fn says_how_to_give_a_policy() {
        for (name, text) in [("etc/none", ""), ("usr/lib/rocketos/trust/policy.toml", "# nothing\n")] {
            let reason = verdict(&guard(Origin::Installer, name, text)).reason;
            assert!(reason.contains("say --policy <file>, or --policy unsigned"), "{reason}");
        }
        let reason = verdict(&guard(Origin::Node, "etc/none", "")).reason;
        assert!(reason.contains("/etc/rocketos/trust/policy.toml") && !reason.contains("--policy"), "{reason}");
    }

    #[test]
    fn the_shipped_policies_say_what_their_pages_say() {
        for (text, outcome) in [
            (include_str!("../../variants/dev/tree/usr/lib/rocketos/trust/policy.toml"), Outcome::Unsigned),
            (include_str!("../../variants/standalone/tree/usr/lib/rocketos/trust/policy.toml"), Outcome::Refused),
        ] {
            let guard = guard(Origin::Node, "usr/lib/rocketos/trust/policy.toml", text);
            assert_eq!(verdict(&guard).outcome, outcome, "{text}");
        }
    }

    #[test]
    fn asks_the_registries_that_podmans_image_may_have_come_from() {
        let registry = |text: &str| -> ImageReference { format!("docker://{text}").parse().unwrap() };
        let follow = registry("registry.example/node:2");
        for (name, also, expected) in [
            ("registry.example/node:1", None, vec![registry("registry.example/node:1")]),
            ("registry.example/node:1", Some(&follow), vec![registry("registry.example/node:1")]),
            ("[vfs@/a+/b]quay.io/c:1", Some(&follow), vec![registry("quay.io/c:1"), follow.clone()]),
            ("localhost/rocketos/dev:latest", Some(&follow), vec![follow.clone()]),
            ("0123456789ab", None, vec![]),
        ] {
            let reference = ImageReference::Storage { name: name.to_owned() };
            assert_eq!(registries(&reference, also), expected, "{name}");
        }
    }
}

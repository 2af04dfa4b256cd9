//! Whether a deployment is what was signed: from the signature down to the kernel on the ESP, in seconds.

mod image;

#[cfg(test)]
mod tests;

use rocketos_deploy::{Deployment, Node};
use rocketos_trust::Kept;

use crate::{
    exit,
    pull::Puller,
    trust::{Guard, Judged},
};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Passed(String),
    Failed(String),
    /// The policy does not accept it.
    Refused(String),
    /// It could not be found out, which is not the same as passing.
    NotAsked(String),
}

impl Finding {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
            Self::NotAsked(_) => "unasked",
        }
    }

    /// What was seen.
    pub fn text(&self) -> &str {
        match self {
            Self::Passed(text) | Self::Failed(text) | Self::Refused(text) | Self::NotAsked(text) => text,
        }
    }
}

/// One check.
#[derive(Debug)]
pub struct Check {
    pub name: &'static str,
    pub finding: Finding,
}

/// What is to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Read every object.
    pub full: bool,
    /// Ask nobody.
    pub offline: bool,
}

/// All checks of a deployment.
#[derive(Debug)]
pub struct Verified {
    pub checks: Vec<Check>,
    /// The policy's verdict, where there is one.
    pub judged: Option<Judged>,
}

impl Verified {
    /// Names of the checks that came out so.
    pub fn names(&self, so: impl Fn(&Finding) -> bool) -> Vec<&'static str> {
        self.checks.iter().filter(|check| so(&check.finding)).map(|check| check.name).collect()
    }

    /// The worst of them.
    pub fn word(&self) -> &'static str {
        let order = ["failed", "refused", "unasked"];
        let has = |word: &&str| self.checks.iter().any(|check| check.finding.word() == *word);
        order.into_iter().find(has).unwrap_or("passed")
    }
}

/// Checks a deployment, each link of the chain by itself: a broken one says nothing of the others.
pub fn verify(node: &Node, deployment: &Deployment, guard: &Guard, wish: Wish) -> Verified {
    let mut checks = Vec::new();
    let (finding, judged) = signature(node, deployment, guard, wish);
    checks.push(Check { name: "signature", finding });
    for (name, check) in image::CHECKS {
        checks.push(Check { name, finding: settle(check(node, deployment)) });
    }
    if wish.full {
        checks.push(Check { name: "objects", finding: settle(image::objects(node, deployment)) });
    }
    Verified { checks, judged }
}

/// A check that could not be made has not passed.
fn settle(outcome: anyhow::Result<Finding>) -> Finding {
    outcome.unwrap_or_else(|error| Finding::Failed(exit::chain(&error)))
}

/// By the policy of today: what was kept when it came, else what is at the registry.
fn signature(node: &Node, deployment: &Deployment, guard: &Guard, wish: Wish) -> (Finding, Option<Judged>) {
    let judged = judge(node, deployment, guard, wish);
    match judged {
        Ok(Some(judged)) => {
            let text = judged.verdict.reason.clone();
            let finding = if judged.is_accepted() { Finding::Passed(text) } else { Finding::Refused(text) };
            (finding, Some(judged))
        }
        Ok(None) => {
            (Finding::NotAsked("no signatures were kept when it came, and no registry was asked".to_owned()), None)
        }
        Err(error) => (Finding::NotAsked(exit::chain(&error)), None),
    }
}

/// The verdict; absent where it takes signatures that are not here.
fn judge(node: &Node, deployment: &Deployment, guard: &Guard, wish: Wish) -> anyhow::Result<Option<Judged>> {
    let origin = &deployment.origin;
    let documents = node.store.documents(&origin.manifest_digest)?;
    let Some((manifest, _)) = documents else {
        anyhow::bail!("its manifest is not in the store, or damaged");
    };
    match by_kept(node, deployment, guard, &manifest) {
        // A policy that asks for no signature, or takes nothing, has said all there is to say.
        Ok((judged, _)) if judged.is_accepted() || judged.verdict.demands.is_empty() => return Ok(Some(judged)),
        Ok((judged, some)) if wish.offline => return Ok(some.then_some(judged)),
        Err(error) if wish.offline => return Err(error),
        // What was kept is of no use; a registry may have better.
        _ => {}
    }
    let puller = Puller::new()?;
    let resolved = puller.resolve_exactly(&origin.image, origin.manifest_digest)?;
    guard.judge(&puller, &resolved, None).map(Some)
}

/// The verdict by what was kept, and whether anything was.
fn by_kept(node: &Node, deployment: &Deployment, guard: &Guard, manifest: &[u8]) -> anyhow::Result<(Judged, bool)> {
    let kept = node.signatures(&deployment.id)?.map(|text| Kept::from_json(&text)).transpose()?;
    let judged = guard.judge_kept(&deployment.origin.image, manifest, kept.as_ref())?;
    Ok((judged, kept.is_some()))
}

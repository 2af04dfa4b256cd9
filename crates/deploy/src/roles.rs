//! Which deployment is booted, staged, rollback: read off the boot order, stored nowhere.

use rocketos_boot::Entry;
use rocketos_model::{DeploymentId, Origin};

use crate::{DeployError, Node};

/// A deployment and what the boot order says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its name.
    pub id: DeploymentId,
    /// What it is and follows.
    pub origin: Origin,
    /// Its entries, in the loader's order.
    pub entries: Vec<Entry>,
    /// Kept by prune.
    pub pinned: bool,
}

impl Deployment {
    /// True when it has proved itself: one of its entries is not counted.
    pub fn is_good(&self) -> bool {
        self.entries.iter().any(Entry::is_good)
    }

    /// True when it was tried until no tries were left.
    pub fn has_failed(&self) -> bool {
        !self.entries.is_empty() && !self.is_good() && !self.is_bootable()
    }

    /// True when the loader may boot it by itself.
    pub fn is_bootable(&self) -> bool {
        self.entries.iter().any(|entry| entry.name.bootable())
    }
}

/// The roles of all deployments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// What runs.
    pub booted: Option<Deployment>,
    /// What boots next for the first time.
    pub staged: Option<Deployment>,
    /// What `rollback` goes to.
    pub rollback: Option<Deployment>,
    /// True when the rollback boots next.
    pub rollback_queued: bool,
    /// Everything else, in the loader's order; without an entry last.
    pub others: Vec<Deployment>,
}

impl Roles {
    /// All deployments.
    pub fn all(&self) -> impl Iterator<Item = &Deployment> {
        self.booted.iter().chain(&self.staged).chain(&self.rollback).chain(&self.others)
    }

    /// Whose origin says what this node follows: the newest that was meant to run.
    pub fn followed(&self) -> Option<&Deployment> {
        self.staged.as_ref().or(self.booted.as_ref())
    }

    /// What boots next.
    pub fn next(&self) -> Option<&Deployment> {
        match (self.rollback_queued, &self.staged) {
            (true, _) => self.rollback.as_ref(),
            (false, Some(staged)) => Some(staged),
            (false, None) => self.booted.as_ref(),
        }
    }
}

/// Reads the roles off the disk.
///
/// # Errors
/// When entries or origin files cannot be read.
pub fn roles(node: &Node) -> Result<Roles, DeployError> {
    let entries = node.esp.entries()?;
    let pins = node.pins()?;
    let mut order: Vec<DeploymentId> = Vec::new();
    for id in entries.iter().map(|entry| entry.name.deployment).chain(node.deployments()?) {
        if !order.contains(&id) {
            order.push(id);
        }
    }
    let mut deployments = Vec::new();
    for id in order {
        // An entry without a state directory is an install or a prune that was cut off; the next prune removes it.
        if let Some(origin) = node.origin(&id)? {
            let entries = entries.iter().filter(|entry| entry.name.deployment == id).cloned().collect();
            deployments.push(Deployment { id, origin, entries, pinned: pins.contains(&id) });
        }
    }
    Ok(assign(deployments, node.booted_deployment()))
}

/// Gives each deployment its role; `deployments` are in the loader's order.
fn assign(deployments: Vec<Deployment>, booted: Option<DeploymentId>) -> Roles {
    let mut roles = Roles::default();
    let next = deployments.iter().find(|deployment| deployment.is_bootable()).map(|deployment| deployment.id);
    for deployment in deployments {
        let is_next = next == Some(deployment.id);
        if booted == Some(deployment.id) {
            roles.booted = Some(deployment);
        } else if is_next && !deployment.is_good() {
            roles.staged = Some(deployment);
        } else if roles.rollback.is_none() && deployment.is_good() {
            roles.rollback_queued = is_next;
            roles.rollback = Some(deployment);
        } else {
            roles.others.push(deployment);
        }
    }
    if booted.is_none() && roles.staged.is_none() && roles.rollback_queued {
        roles.rollback_queued = false;
    }
    roles
}

#[cfg(test)]
mod tests {
    use rocketos_model::{EntryName, Tries};

    use super::*;

    fn deployment(byte: &str, entries: &[(u64, Option<u32>)]) -> Deployment {
        let id: DeploymentId = byte.repeat(16).parse().unwrap();
        Deployment {
            id,
            origin: Origin {
                image: "docker://registry.example/a".parse().unwrap(),
                manifest_digest: format!("sha256:{}", byte.repeat(32)).parse().unwrap(),
                composefs_digest: byte.repeat(64).parse().unwrap(),
                uki: "k.efi".into(),
                kernel: "k".into(),
                version: None,
                variant: None,
                created: None,
                architecture: "amd64".into(),
                channel: None,
            },
            entries: entries
                .iter()
                .map(|(sequence, left)| Entry {
                    name: EntryName {
                        sequence: *sequence,
                        deployment: id,
                        tries: left.map(|left| Tries { left, done: 3 - left }),
                    },
                })
                .collect(),
            pinned: false,
        }
    }

    fn ids(roles: &Roles) -> [Option<DeploymentId>; 3] {
        [&roles.booted, &roles.staged, &roles.rollback].map(|role| role.as_ref().map(|deployment| deployment.id))
    }

    #[test]
    fn follows_an_upgrade_from_staging_to_blessing() {
        let (a, b) = ("aa", "bb");
        let [id_a, id_b] = [a, b].map(|byte| deployment(byte, &[]).id);
        let staged = assign(vec![deployment(b, &[(2, Some(3))]), deployment(a, &[(1, None)])], Some(id_a));
        assert_eq!(ids(&staged), [Some(id_a), Some(id_b), None]);
        assert_eq!(staged.next().unwrap().id, id_b);
        let trying = assign(vec![deployment(b, &[(2, Some(2))]), deployment(a, &[(1, None)])], Some(id_b));
        assert_eq!(ids(&trying), [Some(id_b), None, Some(id_a)]);
        assert!(!trying.rollback_queued);
        let failed = assign(vec![deployment(a, &[(1, None)]), deployment(b, &[(2, Some(0))])], Some(id_a));
        assert_eq!(ids(&failed), [Some(id_a), None, None]);
        assert_eq!(failed.others.len(), 1);
    }

    #[test]
    fn a_queued_rollback_boots_next() {
        let [id_a, id_b] = ["aa", "bb"].map(|byte| deployment(byte, &[]).id);
        let roles = assign(vec![deployment("aa", &[(3, None), (1, None)]), deployment("bb", &[(2, None)])], Some(id_b));
        assert_eq!(ids(&roles), [Some(id_b), None, Some(id_a)]);
        assert!(roles.rollback_queued);
        assert_eq!(roles.next().unwrap().id, id_a);
    }
}

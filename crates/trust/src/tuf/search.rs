//! Which role says what of a target (specification 5.6.7).

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Fresh, Role, Target, TargetName, TufError, limits,
    metadata::{Delegations, Document, Targets},
    transport::Transport,
};

/// A delegation that is still to be followed: which of its delegator's.
struct ToVisit {
    delegator: Role,
    delegations: Arc<Delegations>,
    at: usize,
}

impl<T: Transport> Fresh<'_, T> {
    /// Finds what is signed of a target: in the targets role, else in the delegated roles that are trusted for it, in
    /// the order of their delegation, depth first, each verified by the keys of the role that delegates to it.
    ///
    /// # Errors
    /// When no role names it, or a role that had to be asked could not be.
    pub async fn find(&self, name: &TargetName) -> Result<Target, TufError> {
        let mut visited = BTreeSet::from([Role::Targets]);
        let mut stack = Vec::new();
        if let Some(target) = self.target(name, Role::Targets, &self.targets, &mut stack) {
            return Ok(target);
        }
        while let Some(ToVisit { delegator, delegations, at }) = stack.pop() {
            let delegation = &delegations.roles[at];
            let role = Role::Delegated(delegation.name.clone());
            // "If this role has been visited before, then skip this role" (5.6.7.1).
            if visited.contains(&role) {
                continue;
            }
            if visited.len() >= limits::ROLES_VISITED {
                return Err(TufError::SearchTooLong { name: name.to_string(), limit: limits::ROLES_VISITED });
            }
            visited.insert(role.clone());
            let signer = delegator.to_string();
            let verify = |document: &Document| delegations.keys.verify(&delegation.keys, document, &signer);
            let targets = self.client.load_targets(&role, &self.snapshot, self.now, verify).await?;
            if let Some(target) = self.target(name, role, &targets, &mut stack) {
                return Ok(target);
            }
        }
        Err(TufError::NoTarget { name: name.to_string(), visited: visited.len() })
    }

    /// The target where this role names it; else the role's delegations come next.
    fn target(&self, name: &TargetName, role: Role, targets: &Targets, stack: &mut Vec<ToVisit>) -> Option<Target> {
        if let Some(file) = targets.targets.get(name.as_str()) {
            let digest = self.client.root.consistent_snapshot.then(|| file.digests.first_hex()).flatten();
            let path = name.path(digest.as_deref());
            return Some(Target { name: name.clone(), file: file.clone(), role, path });
        }
        let delegations = Arc::new(targets.delegations.clone()?);
        let mut next = Vec::new();
        for (at, delegation) in delegations.roles.iter().enumerate() {
            if !delegation.covers(name.as_str()) {
                continue;
            }
            next.push(ToVisit { delegator: role.clone(), delegations: Arc::clone(&delegations), at });
            // Nothing after a terminating delegation is asked, neither here nor above (5.6.7.2.1).
            if delegation.terminating {
                stack.clear();
                break;
            }
        }
        stack.extend(next.into_iter().rev());
        None
    }
}

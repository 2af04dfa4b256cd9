//! `verify`.

use rocketos_deploy::{DeployError, Node, roles};
use serde_json::json;

use crate::{
    args::VerifyDeployment,
    exit::{NotAsked, NotVerified},
    trust::Guard,
    verify::{Finding, Wish, verify},
};

/// Checks a deployment.
pub fn run(args: &VerifyDeployment) -> anyhow::Result<()> {
    let node = Node::running()?;
    let roles = roles(&node)?;
    let id = match &args.deployment {
        Some(prefix) => node.find(prefix)?,
        None => node.booted_deployment().ok_or(DeployError::Unknown { wanted: "what runs".to_owned(), found: 0 })?,
    };
    let unknown = || DeployError::Unknown { wanted: id.to_string(), found: 0 };
    let deployment = roles.all().find(|deployment| deployment.id == id).ok_or_else(unknown)?;
    let guard = Guard::of_roles(&node, &roles)?;
    let verified = verify(&node, deployment, &guard, Wish { full: args.full, offline: args.offline });
    if args.json {
        let checks: Vec<_> = verified
            .checks
            .iter()
            .map(|check| json!({ "check": check.name, "outcome": check.finding.word(), "says": check.finding.text() }))
            .collect();
        println!(
            "{}",
            json!({
                "deployment": id, "running": node.booted_deployment() == Some(id), "full": args.full,
                "outcome": verified.word(), "checks": checks,
                "trust": verified.judged.as_ref().map(crate::trust::Judged::document),
            })
        );
    } else {
        for check in &verified.checks {
            println!("{:<8} {:<10} {}", check.finding.word(), check.name, check.finding.text());
        }
    }
    let failed = verified.names(|finding| matches!(finding, Finding::Failed(_)));
    if !failed.is_empty() {
        return Err(NotVerified { deployment: id, failed: failed.join(", ") }.into());
    }
    // A policy that refuses says so itself.
    if let Some(judged) = &verified.judged {
        judged.verdict.require()?;
    }
    match verified.names(|finding| matches!(finding, Finding::NotAsked(_))).is_empty() {
        true => Ok(()),
        false => Err(NotAsked(id).into()),
    }
}

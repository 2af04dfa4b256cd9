//! `status`.

use std::path::Path;

use chrono::Utc;
use rocketos_deploy::{Deployment, Failure, Node, Roles, mended_in_use, roles};
use rocketos_health::Report;
use rocketos_model::layout;
use serde_json::json;

use crate::{
    adapters::systemctl,
    args::{Format, Status},
    automatic::Schedule,
    channel::outlook,
    exit, health, host, host_containers, loader,
};

/// Says what runs, what boots next and what is kept.
pub fn run(args: &Status) -> anyhow::Result<()> {
    let node = Node::running()?;
    let mut roles = roles(&node)?;
    let downloaded = node.downloaded()?;
    let outlook = outlook(&node, &roles)?;
    if args.booted {
        roles = Roles { booted: roles.booted, ..Roles::default() };
    }
    let (last, failures) = (health::newest(), node.failures()?);
    let health = json!({
        "good": last.as_ref().map(Report::is_good),
        "checks": last.as_ref().map(|report| &report.checks),
        "failures": failures,
    });
    // A schedule that cannot be read is no reason to say nothing.
    let itself = Schedule::of_node().and_then(|schedule| schedule.outlook(&roles, Utc::now()));
    let itself = itself.unwrap_or_else(|error| {
        let text = exit::chain(&error);
        (format!("nothing: {text}"), json!({ "error": text }))
    });
    let loader = loader::outlook(&node).unwrap_or_else(|error| {
        let text = exit::chain(&error);
        (format!("unknown: {text}"), json!({ "error": text }))
    });
    let containers = host_containers::standing(&node, Path::new(layout::node::HOST_CONTAINERS), systemctl::lasting)?;
    let (damaged, mended) = (node.scrubbed()?.damage.len(), mended_in_use()?.len());
    match args.json || args.format == Some(Format::Json) {
        true => {
            let said = outlook.as_ref().map(|(_, said)| said);
            let mut document =
                host::document(&roles, downloaded.as_ref(), said, Some(&itself.1), Some(&health), Some(&loader.1));
            document["status"]["rocketos"]["damaged"] = json!(damaged);
            document["status"]["rocketos"]["rebootNeeded"] = json!(mended > 0);
            document["status"]["rocketos"]["hostContainers"] = json!(containers);
            println!("{document}");
        }
        false => {
            print!("{}", human(&roles));
            if let Some((text, _)) = outlook {
                println!("follows: {text}");
            }
            println!("by itself: {}", itself.0);
            println!("loader: {}", loader.0);
            for container in containers {
                print!("{container}");
            }
            if let Some(reason) = last.filter(|report| !report.is_good()).map(|report| report.reason()) {
                println!("health: {reason}");
            }
            for Failure { manifest_digest, version, when, reason } in failures {
                println!(
                    "failed here: {} ({manifest_digest}) at {when}: {reason}",
                    version.as_deref().unwrap_or("unknown")
                );
            }
            if damaged > 0 {
                println!("damaged: {damaged} things in the store; 'rocketctl scrub' says which, and mends what it can");
            }
            if mended > 0 {
                println!("reboot needed: {mended} objects were mended, and what runs may have them open as they were");
            }
        }
    }
    Ok(())
}

fn human(roles: &Roles) -> String {
    let mut text = String::new();
    let next = roles.next().map(|next| next.id);
    let mut add = |role: &str, deployment: &Deployment| {
        let origin = &deployment.origin;
        let mut notes = Vec::new();
        if next == Some(deployment.id) && role != "booted" {
            notes.push("boots next");
        }
        if deployment.pinned {
            notes.push("pinned");
        }
        if !deployment.is_good() {
            notes.push(match (deployment.entries.is_empty(), deployment.is_bootable()) {
                (true, _) => "not in the boot menu",
                (false, true) => "not yet proved",
                (false, false) => "failed",
            });
        }
        let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
        text.push_str(&format!(
            "{role}: {}{notes}\n    image: {}\n    manifest: {}\n    version: {}\n    kernel: {}\n    composefs: {}\n",
            deployment.id,
            origin.image,
            origin.manifest_digest,
            origin.version.as_deref().unwrap_or("unknown"),
            origin.kernel,
            origin.composefs_digest,
        ));
    };
    for (role, deployment) in [("booted", &roles.booted), ("staged", &roles.staged), ("rollback", &roles.rollback)] {
        if let Some(deployment) = deployment {
            add(role, deployment);
        }
    }
    for deployment in &roles.others {
        add("other", deployment);
    }
    text
}

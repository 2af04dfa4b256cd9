//! `status`.

use chrono::Utc;
use rocketos_deploy::{Deployment, Failure, Node, Roles, mended_in_use, roles};
use rocketos_health::Report;
use rocketos_model::DeploymentId;
use serde_json::{Value, json};

use crate::{
    args::{Format, Status},
    automatic::Schedule,
    channel::outlook,
    exit, health, host, loader,
};

/// bootc's host document of this node, with our facts beside it.
pub fn document() -> anyhow::Result<Value> {
    Ok(Facts::of_node(false)?.document())
}

/// Says what runs, what boots next and what is kept.
pub fn run(args: &Status) -> anyhow::Result<()> {
    let facts = Facts::of_node(args.booted)?;
    match args.json || args.format == Some(Format::Json) {
        true => println!("{}", facts.document()),
        false => facts.print(),
    }
    Ok(())
}

/// What is to be said, in words and for programs.
struct Facts {
    roles: Roles,
    downloaded: Option<DeploymentId>,
    follows: Option<(String, Value)>,
    itself: (String, Value),
    loader: (String, Value),
    last: Option<Report>,
    failures: Vec<Failure>,
    damaged: usize,
    mended: usize,
}

impl Facts {
    fn of_node(booted_alone: bool) -> anyhow::Result<Self> {
        let node = Node::running()?;
        let mut roles = roles(&node)?;
        let downloaded = node.downloaded()?;
        let follows = outlook(&node, &roles)?;
        if booted_alone {
            roles = Roles { booted: roles.booted, ..Roles::default() };
        }
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
        let (last, failures) = (health::newest(), node.failures()?);
        let (damaged, mended) = (node.scrubbed()?.damage.len(), mended_in_use()?.len());
        Ok(Self { roles, downloaded, follows, itself, loader, last, failures, damaged, mended })
    }

    fn document(&self) -> Value {
        let health = json!({
            "good": self.last.as_ref().map(Report::is_good),
            "checks": self.last.as_ref().map(|report| &report.checks),
            "failures": self.failures,
        });
        let said = self.follows.as_ref().map(|(_, said)| said);
        let (itself, loader) = (Some(&self.itself.1), Some(&self.loader.1));
        let mut document = host::document(&self.roles, self.downloaded.as_ref(), said, itself, Some(&health), loader);
        document["status"]["rocketos"]["damaged"] = json!(self.damaged);
        document["status"]["rocketos"]["rebootNeeded"] = json!(self.mended > 0);
        document
    }

    fn print(&self) {
        let Self { damaged, mended, .. } = self;
        print!("{}", human(&self.roles));
        if let Some((text, _)) = &self.follows {
            println!("follows: {text}");
        }
        println!("by itself: {}", self.itself.0);
        println!("loader: {}", self.loader.0);
        if let Some(reason) = self.last.as_ref().filter(|report| !report.is_good()).map(Report::reason) {
            println!("health: {reason}");
        }
        for Failure { manifest_digest, version, when, reason } in &self.failures {
            println!(
                "failed here: {} ({manifest_digest}) at {when}: {reason}",
                version.as_deref().unwrap_or("unknown")
            );
        }
        if *damaged > 0 {
            println!("damaged: {damaged} things in the store; 'rocketctl scrub' says which, and mends what it can");
        }
        if *mended > 0 {
            println!("reboot needed: {mended} objects were mended, and what runs may have them open as they were");
        }
    }
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

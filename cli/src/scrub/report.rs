//! What a scrub says, for people and for programs.

use std::fmt::Write as _;

use indicatif::HumanBytes;
use rocketos_model::ObjectId;
use serde_json::{Value, json};

use super::Outcome;
use crate::exit;

/// Hex digits of an object that people are shown.
const SHORT: usize = 16;

impl Outcome {
    /// For people.
    pub fn in_words(&self) -> String {
        let mut text = format!(
            "Read {} objects, {}, in {:.0} s: {}.\n",
            self.objects,
            HumanBytes(self.bytes),
            self.seconds,
            match self.found.len() {
                0 => "all of them are what they should be".to_owned(),
                number => format!("{number} damaged"),
            }
        );
        for (id, fault) in &self.found.objects {
            let _ = write!(text, "  {}…: {fault}, {}", &id.to_hex()[..SHORT], self.fate(id));
            let needed = self.needed_by(id);
            let _ = match needed.is_empty() {
                true => writeln!(text, "; no deployment needs it"),
                false => writeln!(text, "; needed by {}", needed.join(", ")),
            };
        }
        for health in self.healths.iter().filter(|health| !health.contents.named) {
            let fate = if self.damaged.contains(&health.deployment.id) { "not mended" } else { "mended" };
            let _ = writeln!(text, "  deployment {}: the store does not name its image, {fate}", health.deployment.id);
        }
        for name in &self.found.names {
            let fate = if self.left.names.contains(name) { "not mended" } else { "mended" };
            let _ = writeln!(text, "  {name}: leads astray, {fate}");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "Failed: {}.", exit::chain(failure));
        }
        if !self.complete {
            text.push_str("So much is damaged that the rest was not read; run it again.\n");
        }
        if !self.in_use.is_empty() {
            text.push_str("What runs may still have what was damaged open: reboot to let it go.\n");
        }
        if let Some(next) = self.next {
            let _ = writeln!(text, "What should boot next is damaged: deployment {next} boots next instead.");
        }
        if self.leave {
            text.push_str("What runs is damaged, and what boots next is whole: reboot.\n");
        }
        text
    }

    fn fate(&self, id: &ObjectId) -> &'static str {
        match () {
            () if self.mended.contains(id) && self.in_use.contains(id) => "mended, still in use",
            () if self.mended.contains(id) => "mended",
            () if self.dropped.contains(id) => "removed",
            () => "not mended",
        }
    }

    fn needed_by(&self, id: &ObjectId) -> Vec<String> {
        let need = self.healths.iter().filter(|health| health.contents.bad.contains_key(id));
        need.map(|health| health.deployment.id.to_string()).collect()
    }

    /// For programs.
    pub fn document(&self) -> Value {
        let damaged: Vec<Value> = self
            .found
            .objects
            .iter()
            .map(|(id, fault)| {
                let layers: std::collections::BTreeSet<String> = self
                    .healths
                    .iter()
                    .filter_map(|health| health.contents.bad.get(id))
                    .flatten()
                    .map(ToString::to_string)
                    .collect();
                json!({
                    "object": id, "fault": fault.to_string(), "fate": self.fate(id),
                    "inUse": self.in_use.contains(id), "layers": layers, "deployments": self.needed_by(id),
                })
            })
            .collect();
        json!({
            "complete": self.complete,
            "objects": self.objects,
            "bytes": self.bytes,
            "seconds": self.seconds,
            "damaged": damaged,
            "names": self.found.names,
            "left": self.left.len(),
            "damagedDeployments": self.damaged,
            "rebootNeeded": self.reboot_needed(),
            "next": self.next,
            "failures": self.failures.iter().map(exit::chain).collect::<Vec<_>>(),
        })
    }
}

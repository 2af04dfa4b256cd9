//! Programs of health checks, each in a unit of its own, and what systemd says of units.

use std::process::{Output, Stdio};
use std::time::Duration;

use rocketos_health::{Ended, Programs};
use tokio::process::Command;

use super::transient::{NOT_STARTED, Unit};

/// Characters of what a program wrote that are kept.
const TAIL: usize = 500;

/// Starts them.
pub struct Checker;

fn tail(output: &Output) -> String {
    let text = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let skipped = text.chars().count().saturating_sub(TAIL);
    text.chars().skip(skipped).collect()
}

async fn output(program: &str, arguments: &[String]) -> Result<Output, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.map_err(|error| format!("starting {program}: {error}"))
}

impl Programs for Checker {
    async fn unit_state(&self, unit: &str) -> Result<String, String> {
        let arguments = ["show", "--property=ActiveState", "--value", "--", unit].map(str::to_owned);
        let found = output("systemctl", &arguments).await?;
        match found.status.success() {
            true => Ok(String::from_utf8_lossy(&found.stdout).trim().to_owned()),
            false => Err(format!("systemctl {}: {}", found.status, tail(&found))),
        }
    }

    async fn run(&self, command: &[String], limit: Duration) -> Result<Ended, String> {
        let program = command.first().ok_or("there is no program")?;
        let unit = Unit::new("check", &format!("Health check: {program}"), command).at_most(limit);
        let ended = output("systemd-run", &unit.arguments()).await?;
        if ended.status.code() == Some(NOT_STARTED) {
            return Err(format!("{program} could not be started: {}", tail(&ended)));
        }
        let said = tail(&ended);
        let words = match said.is_empty() {
            true => format!("ended with {}", ended.status),
            false => format!("ended with {}: {said}", ended.status),
        };
        Ok(Ended { success: ended.status.success(), words })
    }
}

//! Programs of health checks, each in a unit of its own, and what systemd says of units.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use rocketos_health::{Check, Ended, Outcome, Programs, limits};
use rocketos_settings::render::host_container_unit;
use tokio::process::Command;

use super::transient::{NOT_STARTED, Unit};

/// Characters of what a program wrote that are kept.
const TAIL: usize = 500;

/// What a look at the network may not do: all but speaking there, and reading.
const LOOK: [(&str, &str); 14] = [
    ("SELinuxContext", "system_u:system_r:service_t:s0-s0:c0.c1023"),
    ("CapabilityBoundingSet", ""),
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("ProtectProc", "invisible"),
    ("RestrictNamespaces", "yes"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
    ("MemoryDenyWriteExecute", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallErrorNumber", "EPERM"),
];

/// The unit of a program in a host container; why there is none.
pub type Inside = fn(container: &str, command: &[String]) -> Result<Unit, String>;

/// Starts them.
pub struct Checker {
    /// How a program comes into a host container.
    pub inside: Inside,
}

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

    async fn look(&self, check: &Check) -> Result<Outcome, String> {
        let Some(itself) = std::env::current_exe().ok().and_then(|path| path.to_str().map(str::to_owned)) else {
            return Err("this program does not know where it is".to_owned());
        };
        let command = [itself, "internal".to_owned(), "look".to_owned(), check.name.clone()];
        let unit = Unit::new("look", &format!("A look at the network: {}", check.name), &command);
        let unit = LOOK.iter().fold(unit.literally(), |unit, (key, value)| unit.with(key, value));
        let done = output("systemd-run", &unit.at_most(check.timeout + limits::START).arguments()).await?;
        serde_json::from_slice(&done.stdout).map_err(|_| format!("{}: {}", done.status, tail(&done)))
    }

    async fn run(&self, command: &[String], limit: Duration) -> Result<Ended, String> {
        let program = command.first().ok_or("there is no program")?;
        // Our own has our rights and fences already, and needs no unit.
        if std::env::current_exe().is_ok_and(|itself| itself == Path::new(program)) {
            return Ok(ended(&output(program, &command[1..]).await?));
        }
        let unit = Unit::new("check", &format!("Health check: {program}"), command);
        to_its_end(program, unit, limit).await
    }

    async fn run_in(&self, container: &str, command: &[String], limit: Duration) -> Result<Ended, String> {
        let program = command.first().ok_or("there is no program")?;
        let own = host_container_unit(container);
        let state = self.unit_state(&own).await?;
        if state != "active" {
            return Err(format!("host container {container} does not run: {own} is {state}"));
        }
        let unit = (self.inside)(container, command)?;
        let name = unit.name.clone();
        let ended = to_its_end(program, unit, limit).await?;
        Ok(Ended { words: format!("{}; what it said is in the journal of {name}", ended.words), ..ended })
    }
}

/// Has a program run to its end, in its unit.
async fn to_its_end(program: &str, unit: Unit, limit: Duration) -> Result<Ended, String> {
    let ended = output("systemd-run", &unit.at_most(limit).arguments()).await?;
    if ended.status.code() == Some(NOT_STARTED) {
        return Err(format!("{program} could not be started: {}", tail(&ended)));
    }
    Ok(self::ended(&ended))
}

fn ended(output: &Output) -> Ended {
    let said = tail(output);
    let words = match said.is_empty() {
        true => format!("ended with {}", output.status),
        false => format!("ended with {}: {said}", output.status),
    };
    Ended { success: output.status.success(), words }
}

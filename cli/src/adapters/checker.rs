//! Programs of health checks, each in a unit of its own, and what systemd says of units.

use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rocketos_health::{Ended, Programs};
use tokio::process::Command;

/// Characters of what a program wrote that are kept.
const TAIL: usize = 500;

/// What a unit ends with whose program could not be started (systemd.exec(5), EXIT_EXEC).
const NOT_STARTED: i32 = 203;
/// Programs that this process has had started, for the names of their units.
static STARTED: AtomicU32 = AtomicU32::new(0);

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
        let ended = output("systemd-run", &in_a_unit(command, limit)).await?;
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

/// What systemd-run(1) is told: the program is nothing of ours, so it has neither our rights nor our fences.
fn in_a_unit(command: &[String], limit: Duration) -> Vec<String> {
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let options = ["--quiet", "--collect", "--pipe", "--wait", "--service-type=exec"].map(str::to_owned);
    let own = [
        format!("--unit=rocketos-check-{}-{number}.service", std::process::id()),
        format!("--description=Health check: {}", command[0]),
        format!("--property=RuntimeMaxSec={}ms", limit.as_millis()),
        "--".to_owned(),
    ];
    options.into_iter().chain(own).chain(command.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_a_unit_of_its_own_and_its_time() {
        let command = ["/usr/bin/true".to_owned(), "--unit=x".to_owned()];
        let told = [in_a_unit(&command, Duration::from_secs(5)), in_a_unit(&command, Duration::from_secs(5))];
        assert!(told[0].contains(&"--property=RuntimeMaxSec=5000ms".to_owned()), "{told:?}");
        assert!(told[0].ends_with(&["--".to_owned(), command[0].clone(), command[1].clone()]), "{told:?}");
        assert_ne!(told[0][5], told[1][5]);
    }
}

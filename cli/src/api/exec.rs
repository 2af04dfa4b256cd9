//! Programs in host containers: units of systemd's, made for one connection and gone with it.

use std::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, anyhow};
use rocketos_api::{
    Kind, Problem,
    node::{Program, Started},
};
use rocketos_settings::{Settings, render::host_container_unit};

use crate::{
    adapters::{systemctl, transient::Unit},
    exit,
    host_containers::program_in,
};

/// This service's unit: what it had started ends with it, however that ends.
const OWN_UNIT: &str = "rocketos-api.service";
/// How long a program may take to end once it is told to.
const STOPPING: &str = "10s";
/// The code of a program that was ended by a signal.
const SIGNALLED: i32 = 255;

/// Starts a program in a host container of these settings, for somebody.
pub(super) fn start(settings: &Settings, container: &str, command: &[String], by: &str) -> Result<Started, Problem> {
    let unit = unit(settings, container, command)?;
    let own = host_container_unit(container);
    let stands = systemctl::state(&own).map_err(of_error)?;
    if stands.active != "active" {
        let detail = format!("host container {container} does not run: {own} is {}", stands.active);
        return Err(Problem::new(Kind::NothingToDo, detail));
    }
    // Not its arguments: they may be secret.
    println!("{by} starts {:?} in host container {container}, as {}", command.first(), unit.name);
    let mut child = unit.start().map_err(of_error)?;
    let (stdin, stdout, stderr) = pipes(&mut child).context("taking the program's pipes").map_err(of_error)?;
    let program = InUnit { unit: unit.name, child: Mutex::new(child) };
    Ok(Started {
        stdin: stdin.into(),
        stdout: stdout.into(),
        stderr: stderr.into(),
        program: std::sync::Arc::new(program),
    })
}

fn pipes(child: &mut Child) -> Option<(ChildStdin, ChildStdout, ChildStderr)> {
    Some((child.stdin.take()?, child.stdout.take()?, child.stderr.take()?))
}

/// Its unit: where the container's own has its program, and never for longer than that.
fn unit(settings: &Settings, container: &str, command: &[String]) -> Result<Unit, Problem> {
    let unit = program_in(settings, container, "exec", &format!("A program in host container {container}"), command);
    let unit = unit.ok_or_else(|| {
        Problem::new(Kind::NotFound, format!("settings have no host container '{container}' that is enabled"))
    })?;
    Ok(unit.with("BindsTo", OWN_UNIT).with("After", OWN_UNIT).with("TimeoutStopSec", STOPPING))
}

/// A program in a unit.
struct InUnit {
    unit: String,
    child: Mutex<Child>,
}

impl Program for InUnit {
    fn wait(&self) -> Result<i32, Problem> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = child.wait().context("waiting for systemd-run").map_err(of_error)?;
        Ok(ended.code().unwrap_or(SIGNALLED))
    }

    fn stop(&self) {
        // One that has ended by itself is gone.
        if let Err(error) = systemctl::stop(&self.unit) {
            eprintln!("stopping {}: {}", self.unit, exit::chain(&error));
        }
    }
}

fn of_error(error: anyhow::Error) -> Problem {
    let error = anyhow!(error);
    Problem::new(exit::kind_of(&error), exit::chain(&error))
}

#[cfg(test)]
mod tests {
    use rocketos_settings::{Layers, SetBy, userdata};

    use super::*;

    fn settings(text: &str) -> Settings {
        let mut layers = Layers::default();
        let set_by = SetBy::File { path: "/x".into() };
        layers.add(&userdata::parse(text.as_bytes()).unwrap().tree, |_| set_by.clone());
        layers.resolve().unwrap().settings
    }

    #[test]
    fn a_program_is_in_the_container_and_its_words_are_nobodys() {
        let settings = settings(
            "[settings.host-containers.admin]\nenabled = true\nsource = 'registry.example/a'\nmemory = '64M'\n",
        );
        let command = ["--property=User=x", "$HOME", "%n", "a b\n"].map(str::to_owned);
        let told = unit(&settings, "admin", &command).unwrap().arguments();
        let end = told.iter().position(|word| word == "--").unwrap();
        let [enter, words @ ..] = &told[end + 1..] else { panic!("{told:?}") };
        assert_eq!((enter.as_str(), words), ("/.rocketos/enter", &command[..]));
        for property in [
            "RootDirectory=/run/rocketos/host-containers/admin/root",
            "BindsTo=rocketos-host-container-admin.service",
            "BindsTo=rocketos-api.service",
            "MemoryMax=67108864",
            "DevicePolicy=closed",
        ] {
            assert!(told[..end].contains(&format!("--property={property}")), "{property} in {told:?}");
        }
        assert!(
            told[..end].iter().any(|word| word.starts_with("--property=SELinuxContext=system_u:system_r:control_t:"))
        );
        assert!(told[..end].contains(&"--expand-environment=no".to_owned()), "{told:?}");
        assert_eq!(unit(&settings, "other", &command).unwrap_err().kind, Kind::NotFound);
    }
}

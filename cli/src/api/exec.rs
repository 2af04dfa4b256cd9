//! Programs in host containers: units of systemd's, made for one connection and gone with it.

use std::{
    process::Child,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, anyhow, bail};
use rocketos_api::{
    Kind, Problem,
    node::{Ends, Program, Started},
    wire::Terminal,
};
use rocketos_settings::{Settings, render::host_container_unit};
use selinux::KernelSupport;

use crate::{
    adapters::{systemctl, transient::Unit},
    exit,
    host_containers::program_in,
    terminal::Pair,
};

/// This service's unit: what it had started ends with it, however that ends.
const OWN_UNIT: &str = "rocketos-api.service";
/// How long a program may take to end once it is told to.
const STOPPING: &str = "10s";
/// The code of a program that was ended by a signal.
const SIGNALLED: i32 = 255;

/// Starts a program in a host container of these settings, for somebody.
pub(super) fn start(
    settings: &Settings,
    container: &str,
    command: &[String],
    terminal: Option<&Terminal>,
    by: &str,
) -> Result<Started, Problem> {
    let (unit, label) = unit(settings, container, command)?;
    let own = host_container_unit(container);
    let stands = systemctl::state(&own).map_err(of_error)?;
    if stands.active != "active" {
        let detail = format!("host container {container} does not run: {own} is {}", stands.active);
        return Err(Problem::new(Kind::NothingToDo, detail));
    }
    // Not its arguments: they may be secret.
    println!("{by} starts {:?} in host container {container}, as {}", command.first(), unit.name);
    let (child, ends, unit) = begin(unit, terminal, &label).map_err(of_error)?;
    Ok(Started { ends, program: Arc::new(InUnit { unit, child: Mutex::new(child) }) })
}

/// Starts it, and has the other ends of what it reads and says, and its unit's name.
fn begin(unit: Unit, terminal: Option<&Terminal>, label: &str) -> anyhow::Result<(Child, Ends, String)> {
    if let Some(Terminal { term, window }) = terminal {
        let known = selinux::kernel_support() != KernelSupport::Unsupported;
        let Pair { ours, theirs } = Pair::new(*window, known.then_some(label)).context("making a terminal")?;
        let unit = at_a_terminal(unit, term);
        return Ok((unit.start_at(theirs)?, Ends::Terminal(ours), unit.name));
    }
    let mut child = unit.start()?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else { bail!("systemd-run was started without pipes") };
    Ok((child, Ends::Pipes { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() }, unit.name))
}

/// Shells that somebody types at end when their terminal hangs up, and not when they are told to.
fn at_a_terminal(unit: Unit, term: &str) -> Unit {
    // `enter` hands this on, and of others the proxy alone.
    unit.with("Environment", &format!("TERM={term}")).with("SendSIGHUP", "yes")
}

/// Its unit: where the container's own has its program, and never for longer than that. With it, the label of a terminal there.
fn unit(settings: &Settings, container: &str, command: &[String]) -> Result<(Unit, String), Problem> {
    let found = program_in(settings, container, "exec", &format!("A program in host container {container}"), command);
    let (unit, terminal) = found.ok_or_else(|| {
        Problem::new(Kind::NotFound, format!("settings have no host container '{container}' that is enabled"))
    })?;
    Ok((unit.with("BindsTo", OWN_UNIT).with("After", OWN_UNIT).with("TimeoutStopSec", STOPPING), terminal))
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
        let (unit_of, label) = unit(&settings, "admin", &command).unwrap();
        let told = unit_of.arguments();
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
        let domain = told[..end].iter().find(|word| word.starts_with("--property=SELinuxContext=")).unwrap();
        let level = domain.strip_prefix("--property=SELinuxContext=system_u:system_r:control_t:").unwrap();
        // Its terminal is of the same level, and so no other container's.
        assert_eq!(label, format!("system_u:object_r:terminal_t:{level}"));
        assert!(!told.iter().any(|word| word.contains("TERM=")), "{told:?}");
        let told = at_a_terminal(unit_of, "xterm-256color").arguments();
        let end = told.iter().position(|word| word == "--").unwrap();
        for property in ["Environment=TERM=xterm-256color", "SendSIGHUP=yes"] {
            assert!(told[..end].contains(&format!("--property={property}")), "{property} in {told:?}");
        }
        assert!(told[..end].contains(&"--expand-environment=no".to_owned()), "{told:?}");
        assert_eq!(unit(&settings, "other", &command).unwrap_err().kind, Kind::NotFound);
    }
}

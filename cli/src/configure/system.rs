//! The services of the node that runs: systemd, and the checkers that there are.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rocketos_firewall::{Declaration, Declared, Opening, load};
use rocketos_settings::{
    bootstrap,
    plan::Plan,
    render::{Action, Files, LOCKDOWN, Service},
};

use super::{Complaint, Order, Services, Told, lockdown};
use crate::{
    adapters::{
        journalctl, nft, quadlet,
        systemctl::{self, State},
    },
    exit,
};

/// Where settings have containers, below the root.
const QUADLETS: &str = "etc/containers/systemd";
/// How long a container has to run to count as one that came up: it is ready before its program has read anything.
const SETTLED: Duration = Duration::from_millis(700);
/// Lines of a unit's journal in a receipt.
const LINES: usize = 12;
/// Bytes of a name (hostname(7)).
const NAME_BYTES: usize = 64;

/// The services of the node that runs.
#[derive(Debug)]
pub(super) struct System {
    root: PathBuf,
}

impl System {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The kernel's packet filter reads what would be loaded.
    fn check_firewall(&self, fresh: &Files, plan: &Plan) -> Result<(), Complaint> {
        let told = |said: String| Complaint { by: "the firewall".to_owned(), said };
        let ours = |path: &&String| fresh.all().get(*path).is_some_and(|file| file.service == Service::Firewall);
        let Some(path) = plan.write.iter().find(ours) else { return Ok(()) };
        let Declared { mut open, broken } = load(&self.root).map_err(|error| told(exit::causes(&error)))?;
        let declared_by = format!("/{path}");
        open.retain(|declaration| declaration.declared_by != declared_by);
        let text = String::from_utf8_lossy(&fresh.all()[path].bytes);
        let openings = Opening::parse_file(&text).map_err(|problem| told(format!("{declared_by}: {problem}")))?;
        open.extend(openings.into_iter().map(|opening| Declaration { opening, declared_by: declared_by.clone() }));
        nft::check(&Declared { open, broken }.script()).map_err(|error| told(exit::chain(&error)))
    }

    fn set_hostname(&self) -> Result<Told, String> {
        let path = self.root.join("etc/hostname");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Told::Skipped("the node keeps its name until the next boot".to_owned()));
            }
            other => other.map_err(|error| format!("reading {}: {error}", path.display()))?,
        };
        let name = text.trim();
        if name.is_empty() || name.len() > NAME_BYTES {
            return Err(format!("{} has no name of at most {NAME_BYTES} bytes", path.display()));
        }
        rustix::system::sethostname(name.as_bytes())
            .map_err(|error| format!("setting the kernel's name of the node: {error}"))?;
        Ok(Told::Done)
    }
}

impl Services for System {
    fn check(&self, folder: &Path, fresh: &Files, plan: &Plan) -> Result<(), Complaint> {
        self.check_firewall(fresh, plan)?;
        if plan.write.iter().any(|path| path == LOCKDOWN)
            && let Some(file) = fresh.all().get(LOCKDOWN)
        {
            let told = |said| Complaint { by: "the kernel".to_owned(), said };
            lockdown::check(&self.root, &file.bytes).map_err(told)?;
        }
        if plan.write.iter().any(|path| path.starts_with(QUADLETS)) {
            let told = |said| Complaint { by: "podman's quadlet".to_owned(), said };
            return quadlet::check(&folder.join(QUADLETS)).map_err(|error| told(exit::chain(&error)))?.map_err(told);
        }
        Ok(())
    }

    fn tell(&self, order: &Order) -> Result<Told, String> {
        match order {
            Order::Do(Action::Nothing) => Ok(Told::Done),
            Order::Do(Action::SetHostname) => self.set_hostname(),
            Order::Do(Action::RaiseLockdown) => lockdown::raise(&self.root),
            Order::Do(Action::ReloadManager) => have(&["daemon-reload"], None).map(|()| Told::Done),
            Order::Do(Action::Reload(unit)) => if_it_runs(unit, "reload"),
            Order::Do(Action::RestartRunning(unit)) => if_it_runs(unit, "restart"),
            Order::Do(Action::Restart(unit)) => have(&["restart", "--", unit], Some(unit)).map(|()| Told::Done),
            Order::Do(Action::RestartContainer(unit)) => {
                // How often it failed with other settings does not count; one that never failed has nothing to forget.
                let _ = systemctl::have(&["reset-failed", "--", unit]);
                // It is ordered after that: who waited for it would wait for who waits for them.
                if systemctl::has_job(bootstrap::UNIT).map_err(|error| exit::chain(&error))? {
                    have(&["restart", "--no-block", "--", unit], Some(unit))?;
                    return Ok(Told::Skipped(format!("it starts when {} has ended", bootstrap::UNIT)));
                }
                have(&["restart", "--", unit], Some(unit))?;
                thread::sleep(SETTLED);
                came_up(unit)
            }
            Order::Do(Action::RestartHostContainer(unit)) => {
                let _ = systemctl::have(&["reset-failed", "--", unit]);
                have(&["restart", "--no-block", "--", unit], Some(unit)).map(|()| Told::Done)
            }
            Order::Stop(unit) => match state(unit)?.load.as_str() {
                // podman made no unit of its file.
                "not-found" => Ok(Told::Skipped("there is no such unit".to_owned())),
                _ => stop(unit).map(|()| Told::Done),
            },
            Order::StartLater(unit) => have(&["start", "--no-block", "--", unit], Some(unit)).map(|()| Told::Done),
        }
    }
}

/// Has systemd do something; what is the matter, with the last words of the unit.
fn have(arguments: &[&str], unit: Option<&str>) -> Result<(), String> {
    let said = systemctl::have(arguments).map_err(|error| exit::chain(&error))?;
    said.map_err(|said| with_last_words(said, unit))
}

/// Stops a unit with its parts. systemd would wait for the unit alone: what a container runs on goes after it.
fn stop(unit: &str) -> Result<(), String> {
    let parts = systemctl::parts(unit).map_err(|error| exit::chain(&error))?;
    let units = parts.iter().map(String::as_str);
    have(&["stop", "--", unit].into_iter().chain(units).collect::<Vec<_>>(), Some(unit))
}

fn with_last_words(said: String, unit: Option<&str>) -> String {
    // Without them there is still what systemd says.
    match unit.and_then(|unit| journalctl::last(unit, LINES).ok()).filter(|words| !words.is_empty()) {
        Some(words) => format!("{said}\n{words}"),
        None => said,
    }
}

/// An image need not have a service, nor start it: what nobody runs reads nothing.
fn if_it_runs(unit: &str, verb: &str) -> Result<Told, String> {
    match state(unit)?.active.as_str() {
        // One that failed may come up with what it reads now.
        "failed" => have(&["restart", "--", unit], Some(unit))?,
        "inactive" | "" => return Ok(Told::Skipped("it does not run".to_owned())),
        _ => have(&[verb, "--", unit], Some(unit))?,
    }
    came_up(unit)
}

fn state(unit: &str) -> Result<State, String> {
    systemctl::state(unit).map_err(|error| exit::chain(&error))
}

fn came_up(unit: &str) -> Result<Told, String> {
    let state = state(unit)?;
    match is_up(&state) {
        true => Ok(Told::Done),
        false => Err(with_last_words(format!("it is {} ({})", state.active, state.result), Some(unit))),
    }
}

fn is_up(state: &State) -> bool {
    match state.active.as_str() {
        "active" | "reloading" | "refreshing" => true,
        // It ran to its end.
        "inactive" => state.result == "success",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_up_where_it_runs_or_ran_to_its_end() {
        for (active, result, up) in [
            ("active", "success", true),
            ("reloading", "success", true),
            ("inactive", "success", true),
            ("inactive", "exit-code", false),
            ("failed", "exit-code", false),
            ("activating", "exit-code", false),
            ("deactivating", "success", false),
            ("", "", false),
        ] {
            let state = State { load: "loaded".to_owned(), active: active.to_owned(), result: result.to_owned() };
            assert_eq!(is_up(&state), up, "{active} {result}");
        }
    }

    #[test]
    fn the_nodes_name_is_that_of_its_file() {
        let root = tempfile::tempdir().unwrap();
        let system = System::new(root.path());
        assert!(matches!(system.set_hostname(), Ok(Told::Skipped(_))));
        fs::create_dir(root.path().join("etc")).unwrap();
        for name in ["\n".to_owned(), "x".repeat(NAME_BYTES + 1)] {
            fs::write(root.path().join("etc/hostname"), name).unwrap();
            assert!(system.set_hostname().unwrap_err().contains("at most 64 bytes"));
        }
    }
}

//! What follows from health: a release on trial that does its work until the end of its soak is good; one that does not
//! is left at once, for good.

mod banner;
mod settings;
mod trial;

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rocketos_deploy::{Node, Verdict, bless, give_try_back, prune};
use rocketos_health::{Report, Suite, load};
use rocketos_model::layout;
use rustix::time::ClockId;

use crate::{
    adapters::{checker::Checker, systemctl, transient::Unit},
    channel::date,
    configure::Engine,
    exit,
    host_containers::program_in,
    journal, loader,
    pull::runtime,
};

pub use self::settings::Settings;
use self::trial::{Trial, fail};

/// How long a machine stays in emergency mode whose disk does not even say what is on trial.
const STRANDED: Duration = Duration::from_secs(60);

/// The unit that runs [`soak`].
const SOAK_UNIT: &str = "rocketos-bless.service";

/// A node that does not do its work.
#[derive(Debug, thiserror::Error)]
#[error("this node is not healthy: {0}")]
pub struct Unhealthy(pub String);

/// Which checks are made, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looks {
    /// All, for somebody who asks.
    Asked,
    /// All, while a boot waits.
    AtBoot,
    /// Those that a release is bad without.
    Required,
}

/// Makes the checks, and keeps what all came to for `status`.
fn check(suite: &Suite, looks: Looks) -> anyhow::Result<Report> {
    let programs = Arc::new(Checker { inside });
    let report = runtime()?.block_on(async {
        match looks {
            Looks::Asked => suite.run(&programs).await,
            Looks::AtBoot => suite.run_at_boot(&programs).await,
            Looks::Required => suite.run_required(&programs).await,
        }
    });
    if looks != Looks::Required {
        keep(&report)?;
    }
    Ok(report)
}

/// A check's unit in a host container of the settings in force.
fn inside(container: &str, command: &[String]) -> Result<Unit, String> {
    let settings = Engine::open().and_then(|engine| engine.settings()).map_err(|error| exit::causes(&error))?;
    let unit =
        program_in(&settings, container, "check", &format!("Health check of host container {container}"), command);
    let unit = unit.map(|(unit, _)| unit.apart());
    unit.ok_or_else(|| format!("settings have no host container '{container}' that is enabled"))
}

fn keep(report: &Report) -> anyhow::Result<()> {
    let path = Path::new(layout::node::HEALTH);
    let text = serde_json::to_string(report).context("writing down what the checks came to")?;
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .with_context(|| format!("writing {}", path.display()))
}

/// What the newest checks came to; absent where none were made since boot.
pub fn newest() -> Option<Report> {
    let text = std::fs::read_to_string(layout::node::HEALTH).ok()?;
    serde_json::from_str(&text).ok()
}

/// Looks at the network for the check `name`, and writes what came of it: for who makes checks and has no network.
pub fn look(name: &str) -> anyhow::Result<()> {
    let suite = load(Path::new("/"))?;
    let check = suite.checks.iter().find(|check| check.name == name);
    let check = check.with_context(|| format!("there is no check '{name}'"))?;
    let outcome = runtime()?.block_on(rocketos_health::look(check));
    println!("{}", serde_json::to_string(&outcome).context("writing down what the look came to")?);
    Ok(())
}

/// Makes the checks once, and changes nothing.
pub fn now() -> anyhow::Result<Report> {
    check(&load(Path::new("/"))?, Looks::Asked)
}

/// Before boot-complete.target: makes the checks. A release on trial that fails them is left.
pub fn gate() -> anyhow::Result<()> {
    trial::remember_what_never_came_up()?;
    banner::write()?;
    let report = check(&load(Path::new("/"))?, Looks::AtBoot)?;
    for result in &report.checks {
        println!("{result}");
    }
    match report.is_good() {
        true => Ok(()),
        false => fail(&report.reason()),
    }
}

/// After boot-complete.target: watches a release on trial until the end of its soak, then declares it good. `ready` says
/// that the boot is done, as far as others wait for it.
pub fn soak(ready: impl FnOnce()) -> anyhow::Result<()> {
    let Some(trial) = Trial::of_this_boot()? else {
        println!("Nothing is on trial.");
        ready();
        return Ok(());
    };
    let settings = Settings::of_node()?;
    let mut ready = Some(ready);
    if !settings.soak.is_zero() {
        println!("Deployment {} is on trial for {}.", trial.id, humantime::format_duration(settings.soak));
        if let Some(ready) = ready.take() {
            ready();
        }
    }
    let (began, suite) = (Instant::now(), load(Path::new("/"))?);
    while let left = settings.soak.saturating_sub(began.elapsed())
        && !left.is_zero()
    {
        thread::sleep(left.min(settings.interval));
        let report = check(&suite, Looks::Required)?;
        if !report.is_good() {
            return fail(&format!("{} s after its boot was complete: {}", began.elapsed().as_secs(), report.reason()));
        }
    }
    let (node, lock) = trial::locked("bless")?;
    if let Some(id) = bless(&node)? {
        node.forget_failure(&trial.digest)?;
        node.keep_verdict(&id, &Verdict { good: true, when: date(chrono::Utc::now()), reason: None })?;
        let text = format!("Deployment {id} is good.");
        println!("{text}");
        journal::say(journal::GOOD, &text, &[("ROCKETOS_DEPLOYMENT", &id.to_string())]);
    }
    // Only what has proved itself may push out what came before.
    let pruned = prune(&node, false)?;
    crate::commands::report_pruned(&pruned);
    drop((node, lock));
    update_loader();
    if let Some(ready) = ready {
        ready();
    }
    Ok(())
}

/// In a boot of a release that has proved itself: one step towards the image's loader.
pub fn advance_loader() -> anyhow::Result<()> {
    match Trial::of_this_boot()? {
        Some(trial) => println!("Deployment {} is on trial; its loader waits for it.", trial.id),
        None => update_loader(),
    }
    Ok(())
}

/// In a boot that is good: one step towards the image's loader. The node does its work without it.
fn update_loader() {
    if let Err(error) = loader::advance(|| trial::locked("updating the loader")) {
        eprintln!("rocketctl: updating the loader: {}", exit::chain(&error));
    }
}

/// When the machine shuts down in order while a release is on trial: whoever did that found no fault with it.
pub fn excuse() -> anyhow::Result<()> {
    if systemctl::is_stopping()? && Trial::of_this_boot()?.is_some_and(|trial| !trial.failed) {
        let (node, _lock) = Node::locked("giving a try back")?;
        if give_try_back(&node)? {
            println!("The try is given back.");
        }
    }
    Ok(())
}

/// Some time after the kernel's start: a release on trial whose boot is not complete by now has failed.
pub fn deadline() -> anyhow::Result<()> {
    // With nothing on trial nobody waits here.
    if Trial::of_this_boot()?.is_none() {
        return Ok(());
    }
    let settings = Settings::of_node()?;
    let up = rustix::time::clock_gettime(ClockId::Boottime);
    let up = Duration::new(up.tv_sec.unsigned_abs(), 0);
    thread::sleep(settings.deadline.saturating_sub(up));
    // What was found to fail by then, and has nowhere to go to, stays.
    if Trial::of_this_boot()?.is_none_or(|trial| trial.failed) {
        return Ok(());
    }
    let limit = humantime::format_duration(settings.deadline);
    if !systemctl::is_active("boot-complete.target")? {
        let jobs = systemctl::jobs().unwrap_or_default();
        return fail(&format!("the boot was not complete after {limit}; systemd still waited for: {jobs}"));
    }
    // systemd drops a job to break a circle of dependencies, that of the watch too.
    match systemctl::is_active(SOAK_UNIT)? {
        true => Ok(()),
        false => fail(&format!("after {limit} nobody watched the release; {SOAK_UNIT} does not run")),
    }
}

/// In emergency and rescue mode, where nobody has a password to type.
pub fn stranded() -> anyhow::Result<()> {
    let failed = systemctl::failed().unwrap_or_default();
    match fail(&format!("systemd gave up on the boot; failed units: {failed}")) {
        Err(error) if !error.is::<Unhealthy>() => {
            eprintln!("rocketctl: {}", crate::exit::chain(&error));
            thread::sleep(STRANDED);
            systemctl::reset()
        }
        other => other,
    }
}

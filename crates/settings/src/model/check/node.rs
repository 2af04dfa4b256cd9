//! Updates, health, metrics, raw files.

use std::time::Duration;

use super::Found;
use crate::{
    Settings,
    model::{CheckKind, HealthCheck, value::TimeSpan},
};

/// The shortest window: a shorter one could pass between two looks.
const WINDOW_LEAST: Duration = Duration::from_secs(90 * 60);
/// The longest window and the longest soak.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// What an attempt of a check, or a pause, may take.
const ATTEMPT_MOST: Duration = Duration::from_secs(3600);

pub(super) fn check(settings: &Settings, found: &mut Found) {
    let updates = &settings.updates;
    match (&updates.channel, &updates.from) {
        (Some(_), None) => found.at(&[&"updates", &"channel"], "a channel is somewhere: set updates.from"),
        (None, Some(_)) => found.at(&[&"updates", &"from"], "which of its channels? Set updates.channel"),
        _ => {}
    }
    for window in updates.windows.iter().flatten() {
        if !(WINDOW_LEAST..=WEEK).contains(&window.length.duration()) {
            let message = format!("a window is open for 90min to 7days, not for {}", window.length);
            found.at(&[&"updates", &"windows"], message);
        }
    }
    let health = &settings.health;
    let over = |time: Option<TimeSpan>, most: Duration| time.is_some_and(|time| time.duration() > most);
    let zero = |time: Option<TimeSpan>| time.is_some_and(|time| time.duration().is_zero());
    if over(health.soak, WEEK) {
        found.at(&[&"health", &"soak"], "a soak lasts at most 7days");
    }
    for (field, time) in [("interval", health.interval), ("deadline", health.deadline)] {
        if zero(time) {
            found.at(&[&"health", &field], "a length of nothing leaves no time for work");
        }
    }
    for (name, check) in &health.checks {
        let mut wrong = |field: &str, message: &str| found.at(&[&"health", &"checks", name, &field], message);
        for (field, missing) in [("level", check.level.is_none()), ("kind", check.kind.is_none())] {
            if missing {
                wrong(field, "a check needs it");
            }
        }
        for (field, time) in [("timeout", check.timeout), ("interval", check.interval), ("delay", check.delay)] {
            if over(time, ATTEMPT_MOST) {
                wrong(field, "it is more than an hour");
            }
        }
        if zero(check.timeout) {
            wrong("timeout", "a timeout of nothing lets no attempt pass");
        }
        if check.after.as_ref().is_some_and(|after| after.contains(name)) {
            wrong("after", "it cannot come after itself");
        }
        if let Some(kind) = check.kind {
            fields(kind, check, &mut wrong);
        }
    }
    if settings.metrics.send_metrics == Some(true) && settings.metrics.metrics_url.is_none() {
        found.at(&[&"metrics", &"send-metrics"], "whom is the node to tell? Set metrics.metrics-url");
    }
    if settings.metrics.metrics_url.as_ref().is_some_and(|url| !url.as_str().starts_with("https://")) {
        found.at(&[&"metrics", &"metrics-url"], "what a node tells of itself goes over https:// alone");
    }
    for (path, file) in &settings.raw {
        if file.content.is_none() {
            found.at(&[&"raw", path, &"content"], "a file says something");
        }
    }
}

/// Which keys a check has, by its kind.
fn fields(kind: CheckKind, check: &HealthCheck, wrong: &mut impl FnMut(&str, &str)) {
    use CheckKind::{Http, Mount, Resolve, Tcp, Unit};
    for (field, there, of, needed) in [
        ("unit", check.unit.is_some(), Unit, true),
        ("state", check.state.is_some(), Unit, false),
        ("url", check.url.is_some(), Http, true),
        ("status", check.status.is_some(), Http, false),
        ("body", check.body.is_some(), Http, false),
        ("address", check.address.is_some(), Tcp, true),
        ("path", check.path.is_some(), Mount, true),
        ("name", check.name.is_some(), Resolve, true),
    ] {
        match there {
            true if of != kind => wrong(field, "a check of this kind does not have it"),
            false if of == kind && needed => wrong(field, "a check of this kind needs it"),
            _ => {}
        }
    }
}

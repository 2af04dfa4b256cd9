//! Making checks: all at once, but for those that wait for others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::{sync::watch, task::JoinSet, time};

#[cfg(doc)]
use crate::limits;
use crate::{
    Check, CheckResult, Kind, Level, Outcome, Programs, Report, Suite, order,
    probe::{late, limit, probe},
};

/// What others hear of a check; nothing until it is made.
type News = watch::Receiver<Option<bool>>;

impl Suite {
    /// Makes every check, and says what each came to.
    pub async fn run<P: Programs>(&self, programs: &Arc<P>) -> Report {
        self.run_only(programs, |check| Some(check.clone())).await
    }

    /// The same while a boot waits: for no host container longer than one look takes ([`limits::AT_BOOT`]).
    pub async fn run_at_boot<P: Programs>(&self, programs: &Arc<P>) -> Report {
        self.run_only(programs, |check| Some(check.at_boot())).await
    }

    /// The same for the required ones alone, with what they wait for: what a soak watches.
    pub async fn run_required<P: Programs>(&self, programs: &Arc<P>) -> Report {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&Check> = self.checks.iter().filter(|check| check.level == Level::Required).collect();
        while let Some(check) = open.pop() {
            if names.insert(&check.name) {
                open.extend(self.checks.iter().filter(|other| check.after.contains(&other.name)));
            }
        }
        self.run_only(programs, |check| names.contains(check.name.as_str()).then(|| check.at_boot())).await
    }

    async fn run_only<P: Programs>(&self, programs: &Arc<P>, wanted: impl Fn(&Check) -> Option<Check>) -> Report {
        let checks: Vec<Check> = self.checks.iter().filter_map(wanted).collect();
        let faults = order::faults(&checks);
        let (tell, news): (Vec<_>, Vec<News>) = checks.iter().map(|_| watch::channel(None)).unzip();
        let index: BTreeMap<String, usize> =
            checks.iter().enumerate().map(|(at, check)| (check.name.clone(), at)).collect();
        let mut tasks = JoinSet::new();
        for (at, (check, tell)) in checks.into_iter().zip(tell).enumerate() {
            let before: Vec<(String, News)> = check
                .after
                .iter()
                .filter_map(|name| index.get(name).map(|before| (name.clone(), news[*before].clone())))
                .collect();
            let (fault, programs) = (faults.get(&at).cloned(), Arc::clone(programs));
            tasks.spawn(async move {
                let outcome = match fault {
                    Some(fault) => Outcome::NotRun(fault),
                    None => in_turn(&check, before, &*programs).await,
                };
                // Whoever waited may have ended.
                let _ = tell.send(Some(outcome == Outcome::Passed));
                CheckResult { name: check.name, level: check.level, outcome }
            });
        }
        let mut all = self.broken.clone();
        while let Some(done) = tasks.join_next().await {
            all.push(
                done.unwrap_or_else(|error| CheckResult::broken("a check", &format!("it ended by a defect: {error}"))),
            );
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Report { checks: all }
    }
}

/// Waits for those before, then makes the check.
async fn in_turn<P: Programs>(check: &Check, before: Vec<(String, News)>, programs: &P) -> Outcome {
    for (name, mut news) in before {
        let passed = news.wait_for(Option::is_some).await.map(|passed| *passed == Some(true));
        if !passed.unwrap_or(false) {
            return Outcome::NotRun(format!("it comes after {name}, which did not pass"));
        }
    }
    time::sleep(check.delay).await;
    let mut left = check.retries;
    loop {
        let attempt = time::timeout(limit(check), probe(check, programs)).await;
        let outcome = attempt.unwrap_or_else(|_| late(check));
        // Whether a host container comes is its unit's affair, and nobody waits for that here.
        let absent = matches!((&check.kind, &outcome), (Kind::HostContainer { .. }, Outcome::NotRun(_)));
        if outcome == Outcome::Passed || left == 0 || absent {
            return outcome;
        }
        left -= 1;
        time::sleep(check.interval).await;
    }
}

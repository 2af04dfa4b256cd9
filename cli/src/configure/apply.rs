//! Files put in place and services told, or everything as it was before.

use std::{collections::BTreeSet, time::Instant};

use rocketos_settings::{
    plan::{Manifest, Plan, plan},
    render::{Action, Files, Service},
};
use similar::TextDiff;

use super::{
    ConfigureError, FileChange, FileFate, Order, Outcome, Services, Step, StepOutcome, Told,
    error::is_full,
    place::{Content, Place},
};
use crate::exit;

/// Bytes of what is shown of how a file differs.
const DIFF_BYTES: usize = 32 << 10;

/// When it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Services run.
    Running,
    /// None has read anything yet: who starts later reads what is there then. What cannot be placed is left out, so that the rest is there.
    Boot,
}

/// What is to be in place, planned and checked; nothing has changed.
pub(super) struct Ready<'a> {
    place: &'a Place,
    services: &'a dyn Services,
    fresh: Files,
    placed: Manifest,
    pub plan: Plan,
    pub files: Vec<FileChange>,
}

/// How it went.
pub(super) struct Done {
    pub outcome: Outcome,
    pub steps: Vec<Step>,
    pub put_back: Vec<Step>,
    pub full: bool,
}

impl<'a> Ready<'a> {
    /// Plans the way to these files.
    pub fn new(place: &'a Place, services: &'a dyn Services, fresh: Files) -> Result<Self, ConfigureError> {
        let placed = place.manifest()?;
        let found = place.found(placed.files.keys().chain(fresh.all().keys()))?;
        let plan = plan(&placed, &found, &fresh);
        let mut ready = Self { place, services, fresh, placed, plan, files: Vec::new() };
        ready.files = ready.changes()?;
        Ok(ready)
    }

    /// Renders to a fresh place and asks the checkers.
    pub fn check(&self) -> Result<(), ConfigureError> {
        self.place.clear_fresh()?;
        self.place.stage(&self.fresh, &self.plan.write)?;
        self.services
            .check(&self.place.fresh_etc(), &self.fresh, &self.plan)
            .map_err(|complaint| ConfigureError::Refused { by: complaint.by, said: complaint.said })
    }

    /// What would be done.
    pub fn planned(&self) -> Vec<Step> {
        let step = |order: &Order| step(order.words(), StepOutcome::Planned, String::new(), Instant::now());
        self.stops().iter().chain(&self.orders(&self.fresh, When::Running)).map(step).collect()
    }

    /// Does it; `commit` is called when everything is in place and everybody was told.
    pub fn carry_out(self, when: When, commit: impl FnOnce() -> Result<(), ConfigureError>) -> Done {
        let mut course = Course { ready: &self, before: Vec::new(), steps: Vec::new(), full: false, told: Vec::new() };
        let went = course.forward(when).and_then(|()| course.noted("store", None, commit));
        let failed = course.steps.iter().any(|step| step.outcome == StepOutcome::Failed);
        let (outcome, put_back) = match (went, when) {
            (Ok(()), _) => {
                course.finish(&Manifest::of(&self.fresh));
                (if failed { Outcome::Failed } else { Outcome::Applied }, Vec::new())
            }
            (Err(()), When::Boot) => (Outcome::Failed, Vec::new()),
            (Err(()), When::Running) => course.back(),
        };
        let (steps, full) = (course.steps, course.full);
        // What is left there is emptied before it is used again.
        let _ = self.place.clear_fresh();
        Done { outcome, steps, put_back, full }
    }

    /// Containers whose files go: they are stopped by their units, which go with the files.
    fn stops(&self) -> Vec<Order> {
        let has = |service: &Service| self.fresh.all().values().any(|file| file.service == *service);
        let files = self.plan.remove.iter().filter_map(|path| self.placed.files.get(path));
        let gone: BTreeSet<&Service> = files.map(|placed| &placed.service).filter(|service| !has(service)).collect();
        gone.iter().filter_map(|service| Some(Order::Stop(service.action().container()?.to_owned()))).collect()
    }

    /// Who is told of files that are in place by now.
    fn orders(&self, files: &Files, when: When) -> Vec<Order> {
        let has = |service: &Service| files.all().values().any(|file| file.service == *service);
        let orders = self.plan.tell.iter().filter_map(|service| match (service.action(), when) {
            (Action::Nothing, _) => None,
            // Stopped before its file went.
            (action, _) if action.container().is_some() && !has(service) => None,
            (Action::RestartContainer(unit) | Action::RestartHostContainer(unit), When::Boot) => {
                Some(Order::StartLater(unit))
            }
            (action @ (Action::SetHostname | Action::ReloadManager | Action::RaiseLockdown), _) => {
                Some(Order::Do(action))
            }
            (_, When::Boot) => None,
            (action, When::Running) => Some(Order::Do(action)),
        });
        orders.collect()
    }

    /// Every file that differs, as people may see it.
    fn changes(&self) -> Result<Vec<FileChange>, ConfigureError> {
        let mut changes = Vec::new();
        for path in &self.plan.write {
            let Some(file) = self.fresh.all().get(path) else { continue };
            let after = Content::File { bytes: file.bytes.clone(), mode: file.mode };
            changes.push(change(path, FileFate::Written, self.place.read(path)?.as_ref(), Some(&after)));
        }
        for path in &self.plan.remove {
            let kept = self.place.kept(path)?;
            let fate = if kept.is_some() { FileFate::Restored } else { FileFate::Removed };
            changes.push(change(path, fate, self.place.read(path)?.as_ref(), kept.as_ref()));
        }
        Ok(changes)
    }
}

/// A way that is being gone.
struct Course<'a, 'b> {
    ready: &'b Ready<'a>,
    /// What each path had.
    before: Vec<(String, Option<Content>)>,
    steps: Vec<Step>,
    full: bool,
    /// Who was told, or tried to.
    told: Vec<Order>,
}

impl Course<'_, '_> {
    /// Keeps, swaps, tells. What failed is the last of the steps.
    fn forward(&mut self, when: When) -> Result<(), ()> {
        let Ready { place, fresh, placed, plan, .. } = self.ready;
        let prepare = || {
            plan.keep.iter().try_for_each(|path| place.keep(path))?;
            let changed = plan.write.iter().chain(&plan.remove);
            let before = changed.map(|path| Ok((path.clone(), place.read(path)?)));
            let before = before.collect::<Result<Vec<_>, ConfigureError>>()?;
            place.set_manifest(&placed.before(fresh, plan))?;
            Ok(before)
        };
        self.before = self.noted("write", None, prepare)?;
        for order in self.ready.stops() {
            self.tell(&order)?;
        }
        for path in &plan.write {
            let Some(file) = fresh.all().get(path) else { continue };
            let written = self.noted("write", Some(path), || match when {
                When::Running => place.swap(path, Manifest::is_secret(file.mode)),
                // Nothing was staged: each is placed by itself.
                When::Boot => place.put(path, Some(&Content::File { bytes: file.bytes.clone(), mode: file.mode })),
            });
            self.left_out(written, when)?;
        }
        for path in &plan.remove {
            let put = self.noted("write", Some(path), || place.put(path, place.kept(path)?.as_ref()));
            self.left_out(put, when)?;
        }
        for order in self.ready.orders(fresh, when) {
            let told = self.tell(&order);
            self.left_out(told, when)?;
        }
        Ok(())
    }

    /// At boot the rest is done.
    fn left_out(&self, result: Result<(), ()>, when: When) -> Result<(), ()> {
        if when == When::Boot { Ok(()) } else { result }
    }

    /// What was there comes back, and who was told is told again.
    fn back(&mut self) -> (Outcome, Vec<Step>) {
        let failed_at = self.steps.len();
        let Ready { place, placed, .. } = self.ready;
        for (path, content) in std::mem::take(&mut self.before) {
            let _ = self.noted("write", Some(&path), || place.put(&path, content.as_ref()));
        }
        for order in std::mem::take(&mut self.told) {
            let again = match order {
                // Its files are back.
                Order::Stop(unit) => self.had(&unit).map_or(Order::Stop(unit), Order::Do),
                // It was not there before: nobody asks for it.
                Order::Do(action) => match action.container() {
                    Some(unit) if self.had(unit).is_none() => Order::Stop(unit.to_owned()),
                    _ => Order::Do(action),
                },
                order => order,
            };
            // That it failed is the last of the steps.
            let _ = self.tell(&again);
        }
        let put_back = self.steps.split_off(failed_at);
        let all_back = put_back.iter().all(|step| step.outcome != StepOutcome::Failed);
        if all_back {
            self.finish(placed);
        }
        // Otherwise what was written down before the first file changed stays: the next apply sees to all of it.
        (if all_back { Outcome::PutBack } else { Outcome::Failed }, put_back)
    }

    /// How a container's unit is told, where settings had placed its file before.
    fn had(&self, unit: &str) -> Option<Action> {
        let all = self.ready.placed.files.values();
        all.map(|placed| placed.service.action()).find(|action| action.container() == Some(unit))
    }

    /// Writes down that this is in place, and forgets what was kept for what no longer is.
    fn finish(&mut self, manifest: &Manifest) {
        let place = self.ready.place;
        if self.noted("write", None, || place.set_manifest(manifest)).is_ok() {
            let ours = |path: &&String| !manifest.files.contains_key(*path);
            let plan = &self.ready.plan;
            let gone: Vec<String> = plan.remove.iter().chain(&plan.keep).filter(ours).cloned().collect();
            place.forget(&gone);
        }
    }

    fn tell(&mut self, order: &Order) -> Result<(), ()> {
        let started = Instant::now();
        let told = self.ready.services.tell(order);
        self.told.push(order.clone());
        let (outcome, said) = match told {
            Ok(Told::Done) => (StepOutcome::Done, String::new()),
            Ok(Told::Skipped(why)) => (StepOutcome::Skipped, why),
            Err(said) => (StepOutcome::Failed, said),
        };
        self.steps.push(step(order.words(), outcome, said, started));
        if outcome == StepOutcome::Failed { Err(()) } else { Ok(()) }
    }

    /// Does something that is a step only where it fails.
    fn noted<T>(
        &mut self,
        what: &'static str,
        unit: Option<&str>,
        act: impl FnOnce() -> Result<T, ConfigureError>,
    ) -> Result<T, ()> {
        let started = Instant::now();
        act().map_err(|error| {
            let full = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
                .any(|error| error.downcast_ref::<std::io::Error>().is_some_and(is_full));
            self.full |= full;
            self.steps.push(step((what, unit), StepOutcome::Failed, exit::causes(&error), started));
        })
    }
}

fn step((what, unit): (&'static str, Option<&str>), outcome: StepOutcome, said: String, started: Instant) -> Step {
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Step { what, unit: unit.map(ToOwned::to_owned), outcome, said, milliseconds }
}

/// A file that differs, as people may see it.
fn change(path: &str, change: FileFate, before: Option<&Content>, after: Option<&Content>) -> FileChange {
    let mode = |content: Option<&Content>| match content {
        Some(Content::File { mode, .. }) => Some(*mode),
        _ => None,
    };
    let secret = [before, after].into_iter().filter_map(mode).any(Manifest::is_secret);
    let diff = (!secret).then(|| {
        let diff =
            TextDiff::configure().diff_lines(&text(before), &text(after)).unified_diff().header(path, path).to_string();
        match diff.char_indices().find(|(at, _)| *at >= DIFF_BYTES) {
            Some((at, _)) => format!("{}…\n", &diff[..at]),
            None => diff,
        }
    });
    let mode = mode(after).map(|mode| format!("{mode:04o}"));
    FileChange { path: path.to_owned(), change, mode, secret, diff }
}

fn text(content: Option<&Content>) -> String {
    match content {
        None => String::new(),
        Some(Content::Link(target)) => format!("-> {}\n", target.display()),
        Some(Content::File { bytes, .. }) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

//! A boot: its phases and its units, in microseconds since the kernel's start.

use std::ops::ControlFlow;

use serde::Serialize;

use super::entry::{Entry, Step, What};

/// Units of one boot.
const UNITS: usize = 4096;

/// A part of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// What it is called.
    pub name: &'static str,
    /// When it began; before the kernel, less than 0.
    pub start_us: i64,
    /// When it ended.
    pub end_us: i64,
}

/// A unit that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// When it began to start.
    pub start_us: u64,
    /// When it had started or failed; absent where it was still starting.
    pub end_us: Option<u64>,
    /// True where it failed.
    pub failed: bool,
}

impl Unit {
    /// How long it took to start; until `end`, where it was not done by then.
    pub fn took(&self, end: u64) -> u64 {
        self.end_us.unwrap_or(end).saturating_sub(self.start_us)
    }
}

/// A boot, as far as the journal tells it.
#[derive(Debug, Clone, Default)]
pub struct Boot {
    firmware: u64,
    loader: u64,
    initramfs: Option<u64>,
    root_ready: Option<u64>,
    finished: Option<(u64, u64)>,
    units: Vec<Unit>,
}

/// The same for programs.
#[derive(Debug, Serialize)]
struct Document<'a> {
    phases: Vec<Phase>,
    /// Absent where it never was.
    complete_us: Option<u64>,
    units: &'a [Unit],
}

impl Boot {
    /// Takes what happened next; breaks off where the boot is complete.
    pub fn take(&mut self, Entry { at, what }: &Entry) -> ControlFlow<()> {
        match what {
            What::Initramfs => self.initramfs = self.initramfs.or(Some(*at)),
            What::RootReady => self.root_ready = self.root_ready.or(Some(*at)),
            What::Unit(name, step) => self.step(name, *step, *at),
            What::Finished { began, took } => {
                self.finished = Some((*began, began.saturating_add(*took)));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn step(&mut self, name: &str, step: Step, at: u64) {
        let full = self.units.len() >= UNITS;
        let open = self.units.iter_mut().rev().find(|unit| unit.name == name && unit.end_us.is_none());
        match (open, step) {
            (Some(_), Step::Starting) => {}
            (Some(unit), _) => {
                unit.end_us = Some(at);
                unit.failed = step == Step::Failed;
            }
            (None, _) if full => {}
            // What starts at once says nothing before.
            (None, _) => self.units.push(Unit {
                name: name.to_owned(),
                start_us: at,
                end_us: (step != Step::Starting).then_some(at),
                failed: step == Step::Failed,
            }),
        }
    }

    /// True where nothing is known of it.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty() && self.initramfs.is_none() && self.finished.is_none()
    }

    /// So many microseconds before the kernel's start the firmware began, and the loader; 0 where that is not known.
    pub fn began_before(&mut self, firmware: u64, loader: u64) {
        (self.firmware, self.loader) = (firmware.max(loader), loader);
    }

    /// When it was complete, or else the last that is known of it.
    pub fn end(&self) -> u64 {
        let last = self.units.iter().map(|unit| unit.end_us.unwrap_or(unit.start_us)).max();
        match self.finished {
            Some((_, complete)) => complete,
            None => last.max(self.root_ready).max(self.initramfs).unwrap_or(0),
        }
    }

    /// True where it was complete.
    pub fn is_complete(&self) -> bool {
        self.finished.is_some()
    }

    /// The units, in the order in which they began.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The phases that are known, one after the other.
    pub fn phases(&self) -> Vec<Phase> {
        let first = self.units.iter().map(|unit| unit.start_us).min();
        // Between our initramfs and its first word systemd starts itself; when that was it says only where it was done.
        let began = self.root_ready.or(self.finished.map(|(began, _)| began)).or(first);
        let end = self.end();
        let user_space = began.map_or(end, |began| began.min(end));
        let init = self.initramfs.filter(|at| *at <= user_space);
        let at = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
        let all = [
            ("firmware", -at(self.firmware), -at(self.loader)),
            ("loader", -at(self.loader), 0),
            ("kernel", 0, at(init.unwrap_or(user_space))),
            ("initramfs", at(init.unwrap_or(user_space)), at(user_space)),
            ("user space", at(user_space), at(end)),
        ];
        let phase = |(name, start_us, end_us)| Phase { name, start_us, end_us };
        all.into_iter().filter(|(_, start, end)| start < end).map(phase).collect()
    }

    /// The numbers.
    pub fn document(&self) -> serde_json::Result<String> {
        let complete_us = self.finished.map(|(_, complete)| complete);
        serde_json::to_string(&Document { phases: self.phases(), complete_us, units: &self.units })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(at: u64, name: &str, step: Step) -> Entry {
        Entry { at, what: What::Unit(name.to_owned(), step) }
    }

    fn boot(entries: &[Entry]) -> Boot {
        let mut boot = Boot::default();
        entries.iter().take_while(|entry| boot.take(entry).is_continue()).count();
        boot
    }

    fn phases(boot: &Boot) -> Vec<(&str, i64, i64)> {
        boot.phases().into_iter().map(|phase| (phase.name, phase.start_us, phase.end_us)).collect()
    }

    #[test]
    fn a_unit_lasts_from_its_start_to_what_became_of_it() {
        let found = boot(&[
            unit(10, "a.service", Step::Starting),
            unit(12, "b.service", Step::Started),
            unit(15, "a.service", Step::Starting),
            unit(20, "a.service", Step::Failed),
            // And again.
            unit(30, "a.service", Step::Starting),
            unit(35, "a.service", Step::Started),
            unit(40, "c.service", Step::Starting),
        ]);
        let units: Vec<_> =
            found.units().iter().map(|unit| (unit.name.as_str(), unit.start_us, unit.end_us, unit.failed)).collect();
        let expected = [
            ("a.service", 10, Some(20), true),
            ("b.service", 12, Some(12), false),
            ("a.service", 30, Some(35), false),
            ("c.service", 40, None, false),
        ];
        assert_eq!(units, expected);
        assert_eq!((found.end(), found.is_complete(), found.is_empty()), (40, false, false));
    }

    #[test]
    fn phases_follow_one_another() {
        let (init, ready) = (Entry { at: 50, what: What::Initramfs }, Entry { at: 80, what: What::RootReady });
        let done = Entry { at: 500, what: What::Finished { began: 100, took: 300 } };
        let late = unit(600, "late.service", Step::Starting);
        let mut whole = boot(&[init.clone(), ready.clone(), unit(120, "a.service", Step::Started), done.clone(), late]);
        whole.began_before(70, 20);
        let all = [("firmware", -70, -20), ("loader", -20, 0), ("kernel", 0, 50), ("initramfs", 50, 80)];
        assert_eq!(phases(&whole), [&all[..], &[("user space", 80, 400)]].concat());
        assert_eq!(whole.units().len(), 1, "what came after it was complete counts");
        // Without what the firmware said, without an initramfs of ours, and one that never ended.
        assert_eq!(phases(&boot(&[done])), [("kernel", 0, 100), ("user space", 100, 400)]);
        let stuck = boot(&[init.clone(), ready, unit(90, "a.service", Step::Starting)]);
        assert_eq!(phases(&stuck), [("kernel", 0, 50), ("initramfs", 50, 80), ("user space", 80, 90)]);
        assert_eq!(phases(&boot(&[init])), [("kernel", 0, 50)]);
        assert!(boot(&[]).is_empty() && boot(&[]).phases().is_empty());
    }
}

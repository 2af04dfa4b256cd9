//! Inserting in the background, several modules at once.
//!
//! Checking a module's signature and probing what it drives takes long, and a driver that waits for its hardware
//! needs no processor meanwhile.

use std::{
    cmp::Reverse,
    collections::{HashSet, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::index::Module;

/// Modules inserted at once: more than processors, for those that wait.
const AT_ONCE: usize = 4;

/// A module after all it depends on.
pub struct Chain {
    /// In order.
    pub modules: Vec<Module>,
    /// Whether a device asked for the last of them, which thus has something to look at.
    pub asked_for: bool,
}

/// Chains of modules to insert, and how far that went.
pub struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Whose turn has not come.
    waiting: VecDeque<Chain>,
    /// Chains some thread is at.
    running: usize,
    /// Names of modules being inserted.
    busy: HashSet<String>,
    /// Names of modules inserted, or tried.
    done: HashSet<String>,
}

impl Work {
    /// Starts threads that insert by `insert` whatever is [added](Self::add), each module once; it is told whether a
    /// device asked for the module.
    pub fn start(insert: impl Fn(&Module, bool) + Send + Sync + 'static) -> io::Result<Arc<Self>> {
        let work = Arc::new(Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                running: 0,
                busy: HashSet::new(),
                done: HashSet::new(),
            }),
            changed: Condvar::new(),
        });
        let insert = Arc::new(insert);
        for _ in 0..AT_ONCE {
            let (work, insert) = (work.clone(), insert.clone());
            thread::Builder::new().spawn(move || work.run(&*insert))?;
        }
        Ok(work)
    }

    /// Has more inserted, after what was added before, the longest chains first: at their end are drivers that wait.
    pub fn add(&self, chains: impl IntoIterator<Item = Chain>) {
        let mut chains: Vec<_> = chains.into_iter().collect();
        chains.sort_by_key(|chain| Reverse(chain.modules.len()));
        self.state().waiting.extend(chains);
        self.changed.notify_all();
    }

    /// Waits until a module that was added is inserted, or was tried.
    pub fn wait_for(&self, name: &str) {
        drop(self.wait_while(self.state(), |state| !state.done.contains(name)));
    }

    /// Waits until all that was added is inserted.
    pub fn finish(&self) {
        drop(self.wait_while(self.state(), |state| state.running > 0 || !state.waiting.is_empty()));
    }

    /// A thread that panicked has reset the machine; until then what it held is as good as ever.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        mut condition: impl FnMut(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        self.changed.wait_while(state, |state| condition(state)).unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread's life.
    fn run(&self, insert: &impl Fn(&Module, bool)) {
        loop {
            let mut state = self.wait_while(self.state(), |state| state.waiting.is_empty());
            let Some(chain) = state.waiting.pop_front() else {
                continue;
            };
            state.running += 1;
            drop(state);
            let last = chain.modules.len().saturating_sub(1);
            for (index, module) in chain.modules.into_iter().enumerate() {
                if self.claim(&module.name) {
                    insert(&module, chain.asked_for && index == last);
                    let mut state = self.state();
                    state.busy.remove(&module.name);
                    state.done.insert(module.name);
                    drop(state);
                    self.changed.notify_all();
                }
            }
            let mut state = self.state();
            state.running -= 1;
            drop(state);
            self.changed.notify_all();
        }
    }

    /// True where the module is this thread's to insert; false once it is inserted, by whomever.
    ///
    /// Who is busy waits for nobody, so this ends.
    fn claim(&self, name: &str) -> bool {
        let mut state = self.wait_while(self.state(), |state| state.busy.contains(name));
        !state.done.contains(name) && state.busy.insert(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    fn chain(names: &str) -> Chain {
        let module = |name: char| Module { name: name.to_string(), path: String::new(), needs: Vec::new() };
        Chain { modules: names.chars().map(module).collect(), asked_for: true }
    }

    #[test]
    fn inserts_each_module_once_and_after_what_it_needs() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let seen = order.clone();
        let work = Work::start(move |module, _| {
            thread::sleep(Duration::from_millis(2));
            seen.lock().unwrap().push(module.name.clone());
        })
        .unwrap();
        work.add(["abc", "bc", "ad"].map(chain));
        work.add(["b", "abcde", "xbc"].map(chain));
        work.finish();
        let order = order.lock().unwrap().concat();
        assert_eq!(order.len(), 6, "{order}");
        // What every chain with c, d or e has before it.
        for [first, then] in [["b", "c"], ["a", "d"], ["d", "e"]] {
            assert!(order.find(first) < order.find(then), "{first} after {then} in {order}");
        }
    }

    #[test]
    fn waits_for_one_while_others_are_not_there_yet() {
        let (release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let work = Work::start(move |module, _| {
            if module.name == "s" {
                released.lock().unwrap().recv().unwrap();
            }
        })
        .unwrap();
        work.add(["s", "ab"].map(chain));
        work.wait_for("b");
        assert!(!work.state().done.contains("s"));
        release.send(()).unwrap();
        work.finish();
        assert!(work.state().done.contains("s"));
    }
}

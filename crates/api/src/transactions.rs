//! Transactions: changes that somebody collects, and that come to effect together.
//!
//! The service ends when nobody asks for a while, so they are files: `<folder>/<id>.json`, mode 0600, each of the user who opened it.
//! The folder is in memory, for a transaction does not outlive a boot. None is seen or changed by another user, root's included; one that
//! nobody changed for [`limits::TRANSACTION_AGE`] is forgotten.

use std::{
    fs::{self, DirBuilder, File},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use rocketos_settings::{Key, Schema, TREE_BYTES, Tree};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    Kind, Problem, limits,
    node::Change,
    problem::of_io,
    wire::{self, Opened},
};

/// Characters of a name.
const ID: usize = 16;
/// What a file's name ends with.
const SUFFIX: &str = ".json";
/// Bytes of a file: a tree, its keys, and how they are written.
const BYTES: u64 = (2 * TREE_BYTES + (2 << 20)) as u64;

/// The folder of all of them.
#[derive(Debug)]
pub(crate) struct Transactions {
    folder: PathBuf,
    /// One reads and writes at a time: nothing that somebody adds is lost.
    turn: Mutex<()>,
}

/// As it is written, secrets too.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    uid: u32,
    set: Value,
    unset: Vec<Key>,
}

impl Transactions {
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), turn: Mutex::new(()) }
    }

    /// Opens a new one.
    pub(crate) fn open(&self, uid: u32) -> Result<Opened, Problem> {
        let _turn = self.turn();
        let doing = |error| of_io(&format!("making a transaction in {}", self.folder.display()), &error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(doing)?;
        if self.forget_old().map_err(doing)? >= limits::TRANSACTIONS {
            let most = limits::TRANSACTIONS;
            return Err(Problem::new(Kind::TooMany, format!("{most} transactions are open: commit or drop one")));
        }
        let mut file = tempfile::Builder::new()
            .prefix("")
            .rand_bytes(ID)
            .suffix(SUFFIX)
            .tempfile_in(&self.folder)
            .map_err(doing)?;
        let written = Written { uid, set: Tree::default().to_value(), unset: Vec::new() };
        write(&mut file, &written).map_err(doing)?;
        let (_, path) = file.keep().map_err(|error| doing(error.error))?;
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(SUFFIX));
        Ok(Opened { id: name.unwrap_or_default().to_owned() })
    }

    /// What it does.
    pub(crate) fn read(&self, uid: u32, id: &str) -> Result<Change, Problem> {
        let _turn = self.turn();
        self.load(uid, id)
    }

    /// Has it do something else, made of what it does.
    pub(crate) fn add(
        &self,
        uid: u32,
        id: &str,
        more: impl FnOnce(&mut Change) -> Result<(), Problem>,
    ) -> Result<wire::Transaction, Problem> {
        let _turn = self.turn();
        let mut change = self.load(uid, id)?;
        more(&mut change)?;
        if change.unset.len() > limits::UNSET_KEYS {
            let most = limits::UNSET_KEYS;
            return Err(Problem::new(Kind::TooLarge, format!("a transaction unsets at most {most} keys")));
        }
        let doing = |error| of_io(&format!("writing transaction {id}"), &error);
        let written = Written { uid, set: change.set.to_value(), unset: change.unset.clone() };
        let mut file = NamedTempFile::new_in(&self.folder).map_err(doing)?;
        write(&mut file, &written).map_err(doing)?;
        file.persist(self.path(id)?).map_err(|error| doing(error.error))?;
        Ok(shown(id, &change))
    }

    /// Forgets it.
    pub(crate) fn remove(&self, uid: u32, id: &str) -> Result<(), Problem> {
        let _turn = self.turn();
        self.load(uid, id)?;
        fs::remove_file(self.path(id)?).map_err(|error| of_io(&format!("removing transaction {id}"), &error))
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: &str) -> Result<PathBuf, Problem> {
        let sound = id.len() == ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !sound {
            return Err(none(id));
        }
        Ok(self.folder.join(format!("{id}{SUFFIX}")))
    }

    fn load(&self, uid: u32, id: &str) -> Result<Change, Problem> {
        let path = self.path(id)?;
        let doing = |error| of_io(&format!("reading transaction {id}"), &error);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(none(id)),
            other => other.map_err(doing)?,
        };
        if is_old(file.metadata().and_then(|facts| facts.modified()).map_err(doing)?) {
            return Err(none(id));
        }
        let mut text = String::new();
        file.take(BYTES).read_to_string(&mut text).map_err(doing)?;
        let damaged = || Problem::new(Kind::Failed, format!("transaction {id} is damaged"));
        let written: Written = serde_json::from_str(&text).map_err(|_| damaged())?;
        // Another user's is not there, lest anybody learn of it.
        if written.uid != uid {
            return Err(none(id));
        }
        Ok(Change { set: Tree::from_value(written.set).map_err(|_| damaged())?, unset: written.unset })
    }

    /// Removes those that nobody changed for long; returns how many are left.
    fn forget_old(&self) -> std::io::Result<usize> {
        let mut left = 0;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            match entry.metadata().and_then(|facts| facts.modified()).map(is_old) {
                Ok(false) => left += 1,
                // What another has removed by now is gone too.
                _ => _ = fs::remove_file(entry.path()),
            }
        }
        Ok(left)
    }
}

/// What it does, as people may see it.
pub(crate) fn shown(id: &str, change: &Change) -> wire::Transaction {
    let settings = Schema::get().shown(&change.set).as_object().cloned().unwrap_or_default();
    wire::Transaction { id: id.to_owned(), settings, unset: change.unset.clone() }
}

fn none(id: &str) -> Problem {
    let id: String = id.chars().take(ID).collect();
    Problem::new(
        Kind::NotFound,
        format!("there is no transaction '{id}' of yours: it was committed, dropped or is old"),
    )
}

fn is_old(changed: SystemTime) -> bool {
    // One from the future was changed just now, by a clock that was set back.
    changed.elapsed().is_ok_and(|age| age > limits::TRANSACTION_AGE)
}

fn write(file: &mut NamedTempFile, written: &Written) -> std::io::Result<()> {
    file.write_all(&serde_json::to_vec(written)?)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn set(key: &str, value: Value) -> impl FnOnce(&mut Change) -> Result<(), Problem> {
        let key: Key = key.parse().unwrap();
        move |change| Ok(change.set.set(&key, value)?)
    }

    #[test]
    fn are_of_who_opened_them_and_show_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let all = Transactions::at(&folder.path().join("a"));
        let id = all.open(1000).unwrap().id;
        all.add(1000, &id, set("motd", json!("a"))).unwrap();
        let seen = all.add(1000, &id, set("host-containers.admin.user-data", json!("aHVudGVyMg=="))).unwrap();
        assert_eq!(
            Value::Object(seen.settings),
            json!({"motd": "a", "host-containers": {"admin": {"user-data": "(secret)"}}})
        );
        assert_eq!(all.read(1000, &id).unwrap().set.leaves().len(), 2);
        for uid in [0, 1001] {
            assert_eq!(all.read(uid, &id).unwrap_err().kind, Kind::NotFound);
            assert_eq!(all.remove(uid, &id).unwrap_err().kind, Kind::NotFound);
        }
        all.remove(1000, &id).unwrap();
        assert_eq!(all.read(1000, &id).unwrap_err().kind, Kind::NotFound);
    }

    #[test]
    fn have_a_limit_and_an_age() {
        let folder = tempfile::tempdir().unwrap();
        let all = Transactions::at(folder.path());
        let ids: Vec<String> = (0..limits::TRANSACTIONS).map(|_| all.open(0).unwrap().id).collect();
        assert_eq!(all.open(0).unwrap_err().kind, Kind::TooMany);
        let old = SystemTime::now() - limits::TRANSACTION_AGE - Duration::from_secs(9);
        let path = folder.path().join(format!("{}.json", ids[0]));
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(all.read(0, &ids[0]).unwrap_err().kind, Kind::NotFound);
        all.open(0).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let all = Transactions::at(folder.path());
        for id in ["", "../../etc/passwd", "aaaaaaaa/aaaaaaa", "aaaaaaaaaaaaaaaaa", "ääääääää", "aaaaaaaaaaaaaaa\0"]
        {
            assert_eq!(all.read(0, id).unwrap_err().kind, Kind::NotFound, "{id}");
        }
    }

    #[test]
    fn a_change_that_fails_leaves_it_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let all = Transactions::at(folder.path());
        let id = all.open(0).unwrap().id;
        all.add(0, &id, set("motd", json!("a"))).unwrap();
        let conflict = all.add(0, &id, set("motd.below", json!("b"))).unwrap_err();
        assert_eq!((conflict.kind, conflict.problems.len()), (Kind::Invalid, 1));
        assert_eq!(all.read(0, &id).unwrap().set.to_value(), json!({"motd": "a"}));
    }
}

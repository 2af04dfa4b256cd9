//! Layers: who says what a node is to be, and who counts.
//!
//! ```text
//! files of image and variant  <  facts of this boot  <  user data  <  overrides by operators
//! ```
//!
//! Nothing is copied from a layer to another: what the image says is read at each boot, facts are computed at each boot, and only the
//! last two are stored. A table is merged key by key; a value, an array among them, takes the place of what was below.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
};

use rocketos_dropins::{ReadError, files, text};
use rocketos_model::limits::CONFIG_FILE_BYTES;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::{
    Key, Problem, Problems, Schema, SetBy, Settings, Tree,
    bootstrap::{self, Call},
    facts,
    model::{self, value::Word},
    userdata,
};

/// The folder of the image's and the variant's settings, in those of image, run time and administrator.
pub const FOLDER: &str = "settings.d";
/// The only folder of raw files that user data fills: what is in the others starts programs or says which, and who hands in user data
/// configures a node and adds no code to it.
const RAW_OF_USER_DATA: &str = "systemd/network/";
/// Where calls are that are made at boot.
const COMMANDS: &str = "bootstrap-commands";

/// A folder or file of the image that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the image's settings")]
pub struct LayerError(#[from] ReadError);

/// Settings of several layers, the lowest first.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    values: BTreeMap<Key, (Value, SetBy)>,
    problems: Vec<Problem>,
}

/// What all layers come to.
#[derive(Debug, Clone, Default)]
pub struct Effective {
    /// Every key that is set.
    pub tree: Tree,
    /// The same, typed.
    pub settings: Settings,
    /// Who set each key of the tree.
    pub set_by: BTreeMap<Key, SetBy>,
}

/// A key as people may see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Shown {
    /// The key.
    pub key: Key,
    /// Its value; a secret is not shown.
    pub value: Value,
    /// Who set it.
    pub set_by: SetBy,
}

impl Effective {
    /// Every key at or below another, or of all, with who set it, by key. No secret is shown.
    pub fn shown(&self, below: Option<&Key>) -> Vec<Shown> {
        let leaves = self.tree.leaves().into_iter().filter(|(key, _)| below.is_none_or(|below| key.is_within(below)));
        let shown = leaves.filter_map(|(key, value)| {
            let set_by = self.set_by.get(&key)?.clone();
            Some(Shown { value: Schema::get().shown_at(&key, &value), key, set_by })
        });
        shown.collect()
    }
}

impl Layers {
    /// The lowest layer: the files in `settings.d` below a root, by name, a later one over an earlier one. A file that is none is a
    /// problem of the whole, which [`Layers::resolve`] tells.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub fn of_image(root: &Path) -> Result<Self, LayerError> {
        let mut layers = Self::default();
        for path in files(root, FOLDER)?.into_values() {
            let set_by = SetBy::File { path: PathBuf::from("/").join(path.strip_prefix(root).unwrap_or(&path)) };
            match userdata::parse_text(&text(&path, CONFIG_FILE_BYTES)?) {
                Ok(document) => layers.add(&document.tree, |_| set_by.clone()),
                Err(error) => {
                    layers.problems.push(Problem { key: None, set_by: Some(set_by), message: error.to_string() })
                }
            }
        }
        Ok(layers)
    }

    /// Puts a layer on top. Where it has a table and one below a value, or the other way round, that is a problem of the whole.
    pub fn add(&mut self, tree: &Tree, set_by: impl Fn(&Key) -> SetBy) {
        for (key, value) in tree.leaves() {
            let set_by = set_by(&key);
            if let Some(problem) = self.conflict(&key, &set_by).or_else(|| not_by(&key, &value, &set_by)) {
                self.problems.push(problem);
                continue;
            }
            match self.values.entry(key) {
                Entry::Occupied(mut there) => _ = there.insert((value, set_by)),
                Entry::Vacant(free) => _ = free.insert((value, set_by)),
            }
        }
    }

    /// What is a value below and a table here, or the other way round.
    fn conflict(&self, key: &Key, set_by: &SetBy) -> Option<Problem> {
        let there = key.in_the_way(&self.values)?;
        let (_, by) = &self.values[there];
        let message = format!("it cannot be there together with {there}, set by {by}: one is a value, one a table");
        Some(Problem { key: Some(key.clone()), set_by: Some(set_by.clone()), message })
    }

    /// What the layers come to together.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key and who set it.
    pub fn resolve(self) -> Result<Effective, Problems> {
        let (mut set_by, mut problems) = (BTreeMap::new(), self.problems);
        let leaves = self.values.into_iter().map(|(key, (value, by))| {
            set_by.insert(key.clone(), by);
            (key, value)
        });
        // None is in another's way: who would have been is a problem already.
        let (tree, _) = Tree::of_leaves(leaves);
        let tree = tree.bounded().map_err(|error| Problem { key: None, set_by: None, message: error.to_string() })?;
        let (settings, mut found) = model::check(&tree);
        found.extend(bootstrap::wrong(&settings));
        problems.extend(found.into_iter().map(|problem| told(problem, &set_by)));
        Problems::of(problems).map(|()| Effective { tree, settings, set_by })
    }
}

/// A problem with who set its key; of a table, or of what is missing, one of those who set something there.
fn told(problem: Problem, set_by: &BTreeMap<Key, SetBy>) -> Problem {
    let Some(key) = &problem.key else { return problem };
    let near = |key: &Key| set_by.iter().find(|(there, _)| there.is_within(key)).map(|(_, by)| by.clone());
    let above = || Key::new(&key.names()[..key.names().len() - 1]).ok().and_then(|above| near(&above));
    let by = set_by.get(key).cloned().or_else(|| near(key)).or_else(above);
    Problem { set_by: problem.set_by.or(by), ..problem }
}

/// What who sets a key may not set there.
fn not_by(key: &Key, value: &Value, set_by: &SetBy) -> Option<Problem> {
    let facts = matches!(key.names(), [group, ..] if group == facts::GROUP);
    match set_by {
        SetBy::Fact { .. } => return None,
        _ if facts => {
            let message = "it is found out, and nobody sets it".to_owned();
            return Some(Problem { key: Some(key.clone()), set_by: Some(set_by.clone()), message });
        }
        SetBy::UserData { .. } => {}
        SetBy::File { .. } | SetBy::Operator { .. } => return None,
    }
    let problem = |message| Problem { key: Some(key.clone()), set_by: Some(set_by.clone()), message };
    match key.names() {
        [group, _, field] if group == COMMANDS && field == "commands" => {
            // What is no list of calls the model refuses.
            let lists = Vec::<Vec<Word>>::deserialize(value).unwrap_or_default();
            let mut calls = lists.iter().filter_map(|words| Call::parse(words).ok());
            calls.find_map(|call| beyond_user_data(&call)).map(problem)
        }
        _ => programs(key).map(problem),
    }
}

/// Why a key is not for user data.
fn programs(key: &Key) -> Option<String> {
    match key.names() {
        [group, name, ..] if group == "raw" && !name.starts_with(RAW_OF_USER_DATA) => Some(format!(
            "user data configures a node and adds no programs to it: of raw files it has those in {RAW_OF_USER_DATA} alone"
        )),
        _ => None,
    }
}

/// Why a call is not for user data: what is set by it is set by an operator, who may more. So no call may set calls either.
fn beyond_user_data(call: &Call) -> Option<String> {
    let (method, path) = (call.method.as_str(), call.path.split('?').next().unwrap_or_default());
    let of_settings = [("PATCH", ""), ("POST", "/unset"), ("POST", "/apply"), ("POST", "/lock")];
    if !of_settings.iter().any(|(of, below)| method == *of && path.strip_prefix("/v1/settings") == Some(below)) {
        return Some(
            "calls that user data has set and unset settings, apply and lock them, and do nothing else".to_owned(),
        );
    }
    // What is no tree the API refuses.
    let tree = call.body.clone().and_then(|body| Tree::from_value(body).ok()).unwrap_or_default();
    tree.leaves().keys().find_map(|key| match key.names() {
        [group, ..] if group == COMMANDS => Some("calls that user data has set no calls".to_owned()),
        _ => programs(key),
    })
}

#[cfg(test)]
mod tests;

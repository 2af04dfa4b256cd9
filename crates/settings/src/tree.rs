//! A sparse tree of settings: tables, and values at their ends. An array is a value, whatever is in it.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use crate::{Key, KeyError};

/// Values of a tree.
pub const LEAVES: usize = 8192;
/// Bytes of a tree, as JSON.
pub const TREE_BYTES: usize = 2 << 20;
/// How deep arrays and what is in them may be nested below a key.
pub const VALUE_DEPTH: usize = 8;

/// What a tree does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// No table at its top.
    #[error("settings are a table of keys and values")]
    NoTable,
    /// A name that leads nowhere.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// JSON's null, which TOML does not have.
    #[error("{0} is null: who wants nothing there unsets it")]
    Null(Key),
    /// A value where a table is, or a table where a value is.
    #[error("{key} cannot be set: {at} is a {}", if *.table { "table of keys" } else { "value, not a table" })]
    Conflict {
        /// What was to be set.
        key: Key,
        /// What is in its way.
        at: Key,
        /// True where a table is in the way, and a value was to be set.
        table: bool,
    },
    /// Beyond a limit.
    #[error("settings have at most {LEAVES} values and {TREE_BYTES} bytes, and arrays at most {VALUE_DEPTH} levels")]
    Limit,
}

/// A tree. It has no empty tables: they say nothing. `Debug` shows its keys alone, as values may be secret.
#[derive(Clone, Default, PartialEq)]
pub struct Tree(Map<String, Value>);

impl Tree {
    /// Takes a table of JSON.
    ///
    /// # Errors
    /// When it is no table, has a null, a name that is none, or is beyond a limit.
    pub fn from_value(value: Value) -> Result<Self, TreeError> {
        let Value::Object(table) = value else { return Err(TreeError::NoTable) };
        let mut tree = Self::default();
        let mut leaves = Vec::new();
        collect(&mut Vec::new(), Value::Object(table), &mut leaves)?;
        for (key, value) in leaves {
            tree.put(&key, value)?;
        }
        tree.bounded()
    }

    /// The tree as a table of JSON.
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// True where nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is at a key: a value, or the table below it.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        let (first, rest) = key.names().split_first()?;
        rest.iter().try_fold(self.0.get(first)?, |value, name| value.as_object()?.get(name))
    }

    /// Sets a key; of a table each value in it, leaving what else is there. What was there before it fails stays.
    ///
    /// # Errors
    /// When a value is where a table is needed or the other way round, or the tree would be beyond a limit.
    pub fn set(&mut self, key: &Key, value: Value) -> Result<(), TreeError> {
        let mut leaves = Vec::new();
        collect(&mut key.names().to_vec(), value, &mut leaves)?;
        let mut changed = self.clone();
        for (key, value) in leaves {
            changed.put(&key, value)?;
        }
        *self = changed.bounded()?;
        Ok(())
    }

    /// The tree of values that come one by one; where one is in another's way the first stays, and the others are told.
    pub(crate) fn of_leaves(leaves: impl IntoIterator<Item = (Key, Value)>) -> (Self, Vec<(Key, TreeError)>) {
        let (mut tree, mut refused) = (Self::default(), Vec::new());
        for (key, value) in leaves {
            if let Err(error) = tree.put(&key, value) {
                refused.push((key, error));
            }
        }
        (tree, refused)
    }

    /// Itself, where it is within the limits.
    pub(crate) fn bounded(self) -> Result<Self, TreeError> {
        let bytes = serde_json::to_vec(&self.0).map_or(usize::MAX, |bytes| bytes.len());
        match bytes > TREE_BYTES || count(&self.0) > LEAVES {
            true => Err(TreeError::Limit),
            false => Ok(self),
        }
    }

    /// Sets everything of another tree over this one.
    ///
    /// # Errors
    /// As [`Tree::set`].
    pub fn merge(&mut self, over: &Self) -> Result<(), TreeError> {
        let mut changed = self.clone();
        for (key, value) in over.leaves() {
            changed.put(&key, value)?;
        }
        *self = changed.bounded()?;
        Ok(())
    }

    /// Removes what is at a key, and tables that are empty then; false where nothing was.
    pub fn unset(&mut self, key: &Key) -> bool {
        remove(&mut self.0, key.names())
    }

    /// Every value with its key, by key.
    pub fn leaves(&self) -> BTreeMap<Key, Value> {
        let mut leaves = Vec::new();
        // A tree has names that are names only: from_value, set and merge are the ways in.
        let _ = collect(&mut Vec::new(), self.to_value(), &mut leaves);
        leaves.into_iter().collect()
    }

    fn put(&mut self, key: &Key, value: Value) -> Result<(), TreeError> {
        let conflict = |names: &[String], table| {
            Key::new(names).map_or_else(TreeError::from, |at| TreeError::Conflict { key: key.clone(), at, table })
        };
        let names = key.names();
        let (last, above) = names.split_last().ok_or(KeyError::Empty)?;
        let mut table = &mut self.0;
        for (at, name) in above.iter().enumerate() {
            match table.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(inner) => table = inner,
                _ => return Err(conflict(&names[..=at], false)),
            }
        }
        if table.get(last).is_some_and(Value::is_object) {
            return Err(conflict(names, true));
        }
        table.insert(last.clone(), value);
        Ok(())
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.leaves().keys().map(ToString::to_string).collect();
        f.debug_tuple("Tree").field(&keys).finish()
    }
}

/// Takes a table apart into its values.
fn collect(names: &mut Vec<String>, value: Value, found: &mut Vec<(Key, Value)>) -> Result<(), TreeError> {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                names.push(name);
                // Names that are too many end here, before they end the stack.
                Key::new(names.as_slice())?;
                collect(names, value, found)?;
                names.pop();
            }
        }
        value => {
            let key = Key::new(names.as_slice())?;
            if depth(&value) > VALUE_DEPTH {
                return Err(TreeError::Limit);
            }
            if has_null(&value) {
                return Err(TreeError::Null(key));
            }
            found.push((key, value));
        }
    }
    Ok(())
}

fn remove(table: &mut Map<String, Value>, names: &[String]) -> bool {
    let Some((first, rest)) = names.split_first() else { return false };
    if rest.is_empty() {
        return table.remove(first).is_some();
    }
    let Some(Value::Object(inner)) = table.get_mut(first) else { return false };
    let removed = remove(inner, rest);
    if inner.is_empty() {
        table.remove(first);
    }
    removed
}

fn count(table: &Map<String, Value>) -> usize {
    table.values().map(|value| value.as_object().map_or(1, count)).sum()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(items) => 1 + items.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(items) => items.values().any(has_null),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    fn tree(value: Value) -> Tree {
        Tree::from_value(value).unwrap()
    }

    #[test]
    fn gets_sets_and_unsets_by_key() {
        let mut all = tree(json!({"a": {"b": 1, "c.d": [1, {"x": 2}]}, "empty": {"within": {}}}));
        assert_eq!(all.get(&key("a.\"c.d\"")), Some(&json!([1, {"x": 2}])));
        assert_eq!(all.get(&key("a")), Some(&json!({"b": 1, "c.d": [1, {"x": 2}]})));
        assert_eq!((all.get(&key("empty")), all.get(&key("a.b.c"))), (None, None));
        let keys: Vec<String> = all.leaves().keys().map(ToString::to_string).collect();
        assert_eq!(keys, ["a.b", "a.\"c.d\""]);
        all.set(&key("a.e.f"), json!(true)).unwrap();
        all.set(&key("a"), json!({"b": 2, "g": 3})).unwrap();
        assert!(all.unset(&key("a.\"c.d\"")) && !all.unset(&key("a.h")) && !all.unset(&key("a.b.c")));
        assert_eq!(all.to_value(), json!({"a": {"b": 2, "e": {"f": true}, "g": 3}}));
        assert!(all.unset(&key("a.e.f")));
        assert_eq!(all.to_value(), json!({"a": {"b": 2, "g": 3}}));
        assert!(all.unset(&key("a")) && all.is_empty());
    }

    #[test]
    fn a_value_in_the_way_of_a_table_is_an_error_and_changes_nothing() {
        let mut all = tree(json!({"a": {"b": 1}}));
        let before = all.clone();
        let below = all.set(&key("a.b.c"), json!(1)).unwrap_err();
        assert_eq!(below.to_string(), "a.b.c cannot be set: a.b is a value, not a table");
        let above = all.set(&key("a"), json!(1)).unwrap_err();
        assert_eq!(above.to_string(), "a cannot be set: a is a table of keys");
        assert!(all.merge(&tree(json!({"A": 1, "a": {"b": {"c": 1}}}))).is_err());
        assert_eq!(all, before);
        all.merge(&tree(json!({"a": {"b": [2], "c": 3}}))).unwrap();
        assert_eq!(all.to_value(), json!({"a": {"b": [2], "c": 3}}));
    }

    #[test]
    fn refuses_what_is_no_tree_and_what_is_too_much() {
        let nested = |levels| (0..levels).fold(json!(1), |value, _| json!([value]));
        assert!(Tree::from_value(json!({"a": nested(VALUE_DEPTH)})).is_ok());
        let deep = (0..40).fold(json!(1), |value, _| json!({"a": value}));
        for (value, expected) in [
            (json!([1]), TreeError::NoTable),
            (json!({"a": {"b": null}}), TreeError::Null(key("a.b"))),
            (json!({"a": [{"b": null}]}), TreeError::Null(key("a"))),
            (json!({"a": nested(VALUE_DEPTH + 1)}), TreeError::Limit),
            (json!({"": 1}), TreeError::Key(KeyError::Name(String::new()))),
            (deep, TreeError::Key(KeyError::Limit)),
            (json!({"a": "x".repeat(TREE_BYTES)}), TreeError::Limit),
            (Value::Object((0..=LEAVES).map(|n| (n.to_string(), json!(n))).collect()), TreeError::Limit),
        ] {
            assert_eq!(Tree::from_value(value), Err(expected));
        }
        let mut full = tree(Value::Object((0..LEAVES).map(|n| (n.to_string(), json!(n))).collect()));
        assert_eq!(full.set(&key("more"), json!(1)), Err(TreeError::Limit));
        assert_eq!(full.leaves().len(), LEAVES);
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", tree(json!({"a": {"password": "hunter2"}}))), r#"Tree(["a.password"])"#);
    }
}

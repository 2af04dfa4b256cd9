//! What is to be changed.

use chrono::{DateTime, Utc};
use rocketos_settings::{Key, Tree, TreeError, store::Content};

/// Settings to set and to unset, all or none.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Each value of it sets its key.
    pub set: Tree,
    /// Keys, and tables of them, that are unset before.
    pub unset: Vec<Key>,
    /// The generation that this was made to; where it is another by now, nothing is changed. Whichever counts where absent.
    pub if_match: Option<u64>,
    /// Who, in a line.
    pub who: String,
    /// Why, in a line; may be empty.
    pub why: String,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// An older generation to go back to.
#[derive(Debug, Clone, Default)]
pub struct Undo {
    /// Which; 0 is nothing stored. The one before where absent.
    pub to: Option<u64>,
    /// As in [`Change`].
    pub if_match: Option<u64>,
    /// Who, in a line.
    pub who: String,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

impl Change {
    /// What is stored with it.
    pub(super) fn made_to(&self, content: &Content, at: DateTime<Utc>) -> Result<Content, TreeError> {
        let mut content = content.clone();
        for key in &self.unset {
            content.unset(key);
        }
        // By tables: each of them is set as a whole.
        for name in
            self.set.leaves().keys().filter_map(|key| key.names().first()).collect::<std::collections::BTreeSet<_>>()
        {
            let key = Key::new([name.as_str()])?;
            if let Some(value) = self.set.get(&key) {
                content.set(&key, value.clone(), &self.who, at)?;
            }
        }
        Ok(content)
    }
}

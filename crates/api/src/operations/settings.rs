//! Settings: what is in force, changes of it, what was before.

use rocketos_settings::{Key, SHOWN, Schema, Tree, TreeError};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Answer, Asked, Body, CHANGE_OF, Changing, Document, Method, Nothing, Operation, Run, Says, change, of, read, whole,
};
use crate::{
    Kind, Problem, limits,
    node::{Change, How},
    wire::{Difference, Event, Generation, History, Locked, Receipt, Shown, Unset},
};

pub(super) const ALL: &[Operation] = &[
    Operation {
        query: whole::<Showing>,
        problems: &[Kind::Malformed, Kind::NotFound],
        ..read("showSettings", "/v1/settings", "What is in force.", Says::Json(of::<Shown>), Run::Work(show))
    },
    Operation {
        method: Method::Patch,
        body: Body::Settings,
        ..change(
            "changeSettings",
            "/v1/settings",
            "Sets every value that is named, and leaves the others; services are told before the answer comes.",
            Run::Work(patch),
        )
    },
    Operation {
        body: Body::Of(of::<Unset>),
        ..change(
            "unsetSettings",
            "/v1/settings/unset",
            "Unsets keys that operators set: what lower layers have is in force again.",
            Run::Work(unset),
        )
    },
    read("showSchema", "/v1/settings/schema", "The JSON Schema of settings.", Says::Schema, Run::Work(schema)),
    read(
        "listGenerations",
        "/v1/settings/generations",
        "The generations that are kept, the newest first, each against the one before.",
        Says::Json(of::<History>),
        Run::Work(history),
    ),
    Operation {
        problems: &[Kind::NotFound],
        ..read(
            "showBoot",
            "/v1/settings/boot",
            "What applying at boot came to, and what was done before the node counted as configured.",
            Says::Json(of::<Document>),
            Run::Work(boot),
        )
    },
    Operation {
        problems: &[Kind::NotFound],
        ..read(
            "showGeneration",
            "/v1/settings/generations/{number}",
            "A generation, and everything that is stored in it.",
            Says::Json(of::<Generation>),
            Run::Work(generation),
        )
    },
    Operation {
        query: whole::<Between>,
        problems: &[Kind::Malformed, Kind::NotFound],
        ..read(
            "compareGenerations",
            "/v1/settings/diff",
            "What differs between two generations.",
            Says::Json(of::<Difference>),
            Run::Work(diff),
        )
    },
    Operation {
        query: whole::<Undoing>,
        problems: CHANGE_OF,
        ..change(
            "undoSettings",
            "/v1/settings/undo",
            "Stores what an older generation had, as a new one.",
            Run::Work(undo),
        )
    },
    Operation {
        if_match: false,
        query: whole::<Applying>,
        ..change(
            "applySettings",
            "/v1/settings/apply",
            "Puts every file as settings have it, and tells services whose files were not so.",
            Run::Work(apply),
        )
    },
    Operation {
        if_match: false,
        query: whole::<Nothing>,
        says: Says::Json(of::<Locked>),
        ..change(
            "lockSettings",
            "/v1/settings/lock",
            "Lets nobody change settings until the next boot.",
            Run::Work(lock),
        )
    },
];

/// The query of what shows settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Showing {
    /// Only this key and all below it.
    #[serde(default)]
    prefix: Option<String>,
    /// Say who set each key.
    #[serde(default)]
    origins: Option<bool>,
}

/// The query of what compares.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Between {
    /// A generation; 0 is the one before all. The one before `to` where absent.
    #[serde(default)]
    from: Option<u64>,
    /// Another; the one that counts where absent.
    #[serde(default)]
    to: Option<u64>,
}

/// The query of what goes back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Undoing {
    /// To which generation; the one before where absent.
    #[serde(default)]
    to: Option<u64>,
    /// Only say what would come of it.
    #[serde(default)]
    dry_run: Option<bool>,
}

/// The query of what applies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Applying {
    /// Only say what would come of it.
    #[serde(default)]
    dry_run: Option<bool>,
}

fn show(asked: &Asked) -> Result<Answer, Problem> {
    let Showing { prefix, origins } = asked.query()?;
    let none = |why: String| Problem::new(Kind::NotFound, why);
    let prefix = prefix.map(|text| text.parse::<Key>()).transpose().map_err(|error| none(error.to_string()))?;
    if let Some(refusal) = prefix.as_ref().and_then(|prefix| Schema::get().refusal(prefix)) {
        return Err(none(refusal));
    }
    let standing = asked.shared.node.standing()?;
    let mut tree = Tree::default();
    let within = |key: &Key| prefix.as_ref().is_none_or(|prefix| key.is_within(prefix));
    let sets: Vec<_> = standing.settings.into_iter().filter(|set| within(&set.key)).collect();
    for set in &sets {
        tree.set(&set.key, set.value.clone())?;
    }
    let Value::Object(settings) = tree.to_value() else { return Err(Problem::new(Kind::Failed, "no table")) };
    let shown = Shown {
        generation: standing.generation,
        in_force: standing.in_force,
        settings,
        origins: origins.unwrap_or(false).then_some(sets),
        parked: standing.parked,
        refused: standing.refused,
        damaged: standing.damaged,
        locked: standing.locked,
    };
    Ok(Answer { generation: Some(shown.generation), ..Answer::of(&shown)? })
}

/// The settings of a body.
pub(super) fn tree(asked: &Asked) -> Result<Tree, Problem> {
    let tree = Tree::from_value(asked.body.clone())?;
    for (key, value) in tree.leaves() {
        if let Some(refusal) = Schema::get().refusal(&key) {
            return Err(Problem::at(&key, refusal));
        }
        if is_shown_secret(&key, &value) {
            let message = format!("{SHOWN} is what stands for a secret that is not shown: say the secret, or leave it");
            return Err(Problem::at(&key, message));
        }
    }
    Ok(tree)
}

/// True where what stands for a secret was taken for one: whoever changes what was shown would lose the secret.
fn is_shown_secret(key: &Key, value: &Value) -> bool {
    fn has(value: &Value) -> bool {
        match value {
            Value::String(text) => text == SHOWN,
            Value::Array(values) => values.iter().any(has),
            Value::Object(values) => values.values().any(has),
            _ => false,
        }
    }
    fn without(value: &Value) -> Value {
        match value {
            Value::String(text) if text == SHOWN => Value::from(""),
            Value::Array(values) => values.iter().map(without).collect(),
            Value::Object(values) => {
                Value::Object(values.iter().map(|(name, value)| (name.clone(), without(value))).collect::<Map<_, _>>())
            }
            value => value.clone(),
        }
    }
    // Of other texts the schema says whether they are secrets.
    has(value) && Schema::get().shown_at(key, &without(value)) != without(value)
}

/// The keys of a body that are to be unset.
pub(super) fn keys(asked: &Asked) -> Result<Vec<Key>, Problem> {
    let Unset { keys } = asked.body()?;
    if keys.is_empty() {
        return Err(Problem::new(Kind::Malformed, "name at least one key"));
    }
    if keys.len() > limits::UNSET_KEYS {
        return Err(Problem::new(Kind::TooLarge, format!("at most {} keys are unset at once", limits::UNSET_KEYS)));
    }
    let parsed: Result<Vec<Key>, _> = keys.iter().map(|key| key.parse()).collect();
    parsed.map_err(|error| Problem::from(TreeError::from(error)))
}

/// Has the node do it, and tells whoever listens.
pub(super) fn done(asked: &Asked, receipt: &Receipt) -> Result<Answer, Problem> {
    if receipt.after != receipt.before {
        asked.shared.news.tell(Event::Settings { generation: receipt.after });
    }
    Ok(Answer { generation: Some(receipt.after), ..Answer::of(receipt)? })
}

fn patch(asked: &Asked) -> Result<Answer, Problem> {
    let how = asked.how(asked.query()?)?;
    let change = Change { unset: Vec::new(), set: tree(asked)? };
    done(asked, &asked.shared.node.change(&change, &how)?)
}

fn unset(asked: &Asked) -> Result<Answer, Problem> {
    let how = asked.how(asked.query::<Changing>()?)?;
    let change = Change { unset: keys(asked)?, set: Tree::default() };
    done(asked, &asked.shared.node.change(&change, &how)?)
}

fn schema(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    let document = serde_json::from_str(&Schema::get().document())
        .map_err(|error| Problem::new(Kind::Failed, format!("reading the schema: {error}")))?;
    Ok(Answer { body: Some(document), ..Answer::empty() })
}

fn boot(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    let none = || Problem::new(Kind::NotFound, "nothing put settings in place at this boot");
    Ok(Answer { body: Some(asked.shared.node.standing()?.boot.ok_or_else(none)?), ..Answer::empty() })
}

fn history(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    Answer::of(&History { generations: asked.shared.node.history()? })
}

fn generation(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    let text = asked.parameter("number");
    let none = || Problem::new(Kind::NotFound, format!("there is no generation '{text}', or it is no longer kept"));
    let number: u64 = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(none)?;
    let node = &asked.shared.node;
    let past = node.history()?.into_iter().find(|past| past.generation == number).ok_or_else(none)?;
    Answer::of(&Generation { past, stored: node.diff(0, number)? })
}

fn diff(asked: &Asked) -> Result<Answer, Problem> {
    let Between { from, to } = asked.query()?;
    let node = &asked.shared.node;
    let to = to.map_or_else(|| node.generation(), Ok)?;
    let before = || -> Result<u64, Problem> {
        let kept = node.history()?.into_iter().map(|past| past.generation);
        Ok(kept.filter(|number| *number < to).max().unwrap_or(0))
    };
    let from = from.map_or_else(before, Ok)?;
    Answer::of(&Difference { from, to, settings: node.diff(from, to)? })
}

fn undo(asked: &Asked) -> Result<Answer, Problem> {
    let Undoing { to, dry_run } = asked.query()?;
    let how = asked.how(Changing { dry_run, why: None })?;
    done(asked, &asked.shared.node.undo(to, &how)?)
}

fn apply(asked: &Asked) -> Result<Answer, Problem> {
    let Applying { dry_run } = asked.query()?;
    let How { by, dry_run, .. } = asked.how(Changing { dry_run, why: None })?;
    done(asked, &asked.shared.node.apply(&by, dry_run)?)
}

fn lock(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    Answer::of(&asked.shared.node.lock(&asked.who)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_for_a_secret_is_none() {
        for (key, value, expected) in [
            ("motd", json!(SHOWN), false),
            ("host-containers.admin.user-data", json!(SHOWN), true),
            ("host-containers.admin.user-data", json!("aHVudGVyMg=="), false),
            ("container-registry.credentials", json!([{"registry": "a.b", "password": SHOWN}]), true),
            ("container-registry.credentials", json!([{"registry": "a.b", "password": "hunter2"}]), false),
            ("dns.search-list", json!([SHOWN]), false),
        ] {
            assert_eq!(is_shown_secret(&key.parse().unwrap(), &value), expected, "{key} {value}");
        }
    }
}

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::*;
use crate::{Schema, userdata::Document};

/// Rounds of the property tests.
const ROUNDS: u64 = 600;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    "2026-11-23T01:02:03Z".parse().unwrap()
}

/// A model that knows some keys, and values up to a bound.
#[derive(Debug, Clone)]
struct Model {
    keys: BTreeSet<Key>,
    most: u64,
}

impl Model {
    fn refuses(&self, key: &Key, value: &Value) -> Option<String> {
        match (self.keys.contains(key), value.as_u64()) {
            (false, _) => Some(format!("there is no {key}")),
            (true, Some(value)) if value > self.most => Some(format!("{value} is more than {}", self.most)),
            _ => None,
        }
    }

    fn carry(&self, from: &Content) -> Content {
        carry(from, |key, value| self.refuses(key, value))
    }

    fn replay(&self, own: &Content, ran: &Content, since: Since) -> Content {
        replay(own, ran, since, |key, value| self.refuses(key, value))
    }

    /// Somebody sets and unsets what this model knows.
    fn edit(&self, content: &mut Content, random: &mut fastrand::Rng) {
        let keys: Vec<&Key> = self.keys.iter().collect();
        for _ in 0..random.usize(..6) {
            let Some(key) = random.choice(&keys) else { return };
            match random.u8(..3) {
                0 => _ = content.unset(key),
                _ => content.set(key, json!(random.u64(..=self.most)), "uid 0", now()).unwrap(),
            }
        }
    }
}

/// Every key of the real model, with a name where one is chosen.
fn every_key() -> Vec<Key> {
    fn look(schema: &Value, names: &mut Vec<String>, found: &mut Vec<Key>) {
        let below = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let any = schema.get("additionalProperties").filter(|any| any.is_object());
        let all: Vec<(String, &Value)> =
            below.map(|(name, inner)| (name.clone(), inner)).chain(any.map(|any| ("x".to_owned(), any))).collect();
        if all.is_empty() {
            found.push(Key::new(names.as_slice()).unwrap());
        }
        for (name, inner) in all {
            names.push(name);
            look(inner, names, found);
            names.pop();
        }
    }
    let schema: Value = serde_json::from_str(&Schema::get().document()).unwrap();
    let mut found = Vec::new();
    look(&schema, &mut Vec::new(), &mut found);
    assert!(found.len() > 80, "{}", found.len());
    found
}

fn some(keys: &[Key], random: &mut fastrand::Rng) -> Model {
    let keys = keys.iter().filter(|_| random.u8(..4) > 0).cloned().collect();
    Model { keys, most: random.u64(1..5) }
}

/// What operators want: of each key the newest value, taken or parked.
fn wanted(content: &Content) -> BTreeMap<Key, (u64, Value)> {
    let parked = content.parked.iter().map(|(key, parked)| (key, &parked.item));
    let mut all = BTreeMap::new();
    for (key, set) in content.overrides.iter().chain(parked) {
        let there = all.entry(key.clone()).or_insert((set.revision, set.value.clone()));
        if set.revision > there.0 {
            *there = (set.revision, set.value.clone());
        }
    }
    all
}

#[test]
fn going_back_without_changes_leads_to_what_was() {
    let keys = every_key();
    for seed in 0..ROUNDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let (old, new) = (some(&keys, &mut random), some(&keys, &mut random));
        let mut before = Content::default();
        (0..8).for_each(|_| old.edit(&mut before, &mut random));
        let upgraded = new.carry(&before);
        assert_eq!(old.replay(&before, &upgraded, Since::All), before, "seed {seed}");
        assert_eq!(old.replay(&before, &upgraded, Since::AlwaysNewest), before, "seed {seed}");
        assert_eq!(wanted(&upgraded), wanted(&before), "seed {seed}");
    }
}

#[test]
fn every_key_survives_a_system_that_does_not_know_it() {
    for gone in every_key() {
        let with = Model { keys: [gone.clone(), key("motd")].into(), most: 9 };
        let without = Model { keys: [key("motd")].into(), most: 9 };
        let mut content = Content::default();
        content.set(&gone, json!(1), "uid 0", now()).unwrap();
        // The newer one does not know it.
        let mut upgraded = without.carry(&content);
        let lost = gone != key("motd");
        assert_eq!((upgraded.overrides.is_empty(), upgraded.parked.contains_key(&gone)), (lost, lost), "{gone}");
        upgraded.set(&key("motd"), json!(2), "uid 0", now()).unwrap();
        let back = with.replay(&content, &upgraded, Since::All);
        assert_eq!((back.overrides.len(), back.parked.len()), (1 + usize::from(lost), 0), "{gone}");
        // The older one does not: set after the upgrade, parked by the rollback, back with the next upgrade.
        let empty = Content::default();
        let mut upgraded = with.carry(&empty);
        upgraded.set(&gone, json!(1), "uid 0", now()).unwrap();
        let mut back = without.replay(&empty, &upgraded, Since::All);
        assert_eq!(back.parked.contains_key(&gone), lost, "{gone}");
        back.set(&key("motd"), json!(3), "uid 0", now()).unwrap();
        let again = with.carry(&back);
        assert!(again.overrides.contains_key(&gone), "{gone}");
        assert!(again.parked.is_empty() && again.overrides[&key("motd")].value == json!(3));
    }
}

#[test]
fn changes_on_either_side_are_there_on_the_other() {
    let keys = every_key();
    for seed in 0..ROUNDS {
        let mut random = fastrand::Rng::with_seed(seed);
        // Few keys, so that changes meet.
        let few: Vec<Key> = (0..12).map(|_| keys[random.usize(..keys.len())].clone()).collect();
        let models: Vec<Model> = (0..3).map(|_| some(&few, &mut random)).collect();
        let mut copies = vec![None; models.len()];
        let mut running = 0;
        let mut content = Content::default();
        for _ in 0..12 {
            models[running].edit(&mut content, &mut random);
            let next = random.usize(..models.len());
            if next == running {
                continue;
            }
            let want = wanted(&content);
            copies[running] = Some(content.clone());
            // One that was never booted is a new deployment, one that was is gone back to; or comes anew, as an upgrade does.
            let moved = match (&copies[next], random.bool()) {
                (Some(own), true) => models[next].replay(own, &content, Since::All),
                _ => models[next].carry(&content),
            };
            assert_eq!(wanted(&moved), want, "seed {seed}");
            for (key, (revision, value)) in &want {
                match models[next].refuses(key, value) {
                    // In force.
                    None => {
                        assert_eq!(moved.overrides[key].revision, *revision, "seed {seed}: {key}");
                        assert!(!moved.parked.contains_key(key), "seed {seed}: {key}");
                    }
                    Some(why) => assert_eq!(moved.parked[key].why, why, "seed {seed}: {key}"),
                }
            }
            let refused = moved.overrides.iter().find(|(key, set)| models[next].refuses(key, &set.value).is_some());
            assert!(refused.is_none(), "seed {seed}: {refused:?}");
            (content, running) = (moved, next);
        }
    }
}

#[test]
fn credentials_certificates_and_identity_are_the_newest_whatever_is_left_behind() {
    for newest in ALWAYS_NEWEST {
        assert!(Schema::get().refusal(&key(newest)).is_none(), "{newest}");
    }
    let names = ["container-registry.credentials", "pki.a.data", "network.hostname", "motd"];
    let model = Model { keys: names.iter().map(|name| key(name)).collect(), most: 9 };
    let mut own = Content::default();
    for name in names {
        own.set(&key(name), json!(1), "uid 0", now()).unwrap();
    }
    // Changed in the one after it, and carried to the one after that, which is left.
    let mut ran = model.carry(&own);
    for name in names {
        ran.set(&key(name), json!(2), "uid 0", now()).unwrap();
    }
    ran.unset(&key("pki.a.data"));
    ran.set_user_data("nocloud", "ab", Document::default());
    let ran = model.carry(&ran);
    let back = model.replay(&own, &ran, Since::AlwaysNewest);
    let value = |content: &Content, name: &str| content.overrides.get(&key(name)).map(|set| set.value.clone());
    assert_eq!(names.map(|name| value(&back, name)), [Some(json!(2)), None, Some(json!(2)), Some(json!(1))]);
    assert!(back.user_data.is_empty());
    let back = model.replay(&own, &ran, Since::All);
    assert_eq!(names.map(|name| value(&back, name)), [Some(json!(2)), None, Some(json!(2)), Some(json!(2))]);
    assert_eq!(back.user_data[0].sha256, "ab");
    assert_eq!(back.revision, ran.revision);
}

#[test]
fn what_was_left_behind_is_there_again_where_it_was() {
    let model = Model { keys: [key("motd"), key("network.hostname")].into(), most: 9 };
    let mut own = Content::default();
    own.set(&key("motd"), json!(1), "uid 0", now()).unwrap();
    own.set_user_data("nocloud", "first", Document::default());
    let mut ran = model.carry(&own);
    ran.set(&key("motd"), json!(2), "uid 0", now()).unwrap();
    ran.set_user_data("nocloud", "second", Document::default());
    let mut back = model.replay(&own, &ran, Since::AlwaysNewest);
    assert_eq!(back.overrides[&key("motd")].value, json!(1));
    back.set(&key("network.hostname"), json!(3), "uid 0", now()).unwrap();
    // Forward again, to the very deployment that was left: nobody set the older value since.
    let forward = model.replay(&ran, &back, Since::All);
    assert_eq!(forward.overrides[&key("motd")].value, json!(2));
    assert_eq!(forward.overrides[&key("network.hostname")].value, json!(3));
    assert_eq!((back.user_data[0].sha256.as_str(), forward.user_data[0].sha256.as_str()), ("first", "second"));
}

#[test]
fn user_data_is_parked_key_by_key_and_comes_back() {
    let document = |value| Document { tree: Tree::from_value(value).unwrap(), ..Document::default() };
    let mut content = Content::default();
    content.set_user_data("nocloud", "ab", document(json!({"motd": 1, "dns": {"search-list": 2}})));
    let (all, less) = ([key("motd"), key("dns.search-list")], [key("motd")]);
    let (all, less) = (Model { keys: all.into(), most: 9 }, Model { keys: less.into(), most: 9 });
    let carried = less.carry(&content);
    let data = &carried.user_data[0];
    assert_eq!(data.tree.to_value(), json!({"motd": 1}));
    assert_eq!(data.parked[&key("dns.search-list")].why, "there is no dns.search-list");
    assert_eq!(all.carry(&carried), content);
}

#[test]
fn the_real_model_parks_what_it_refuses_and_tells_why() {
    let mut content = Content::default();
    for (name, value) in
        [("motd", json!("a")), ("newer.than.this", json!("hunter2")), ("kernel.lockdown", json!("more"))]
    {
        content.set(&key(name), value, "uid 0", now()).unwrap();
    }
    let carried = carry(&content, crate::model::refusal);
    assert_eq!(carried.overrides.keys().map(ToString::to_string).collect::<Vec<_>>(), ["motd"]);
    let parked: Vec<_> = carried.parked.iter().map(|(key, parked)| format!("{key}: {}", parked.why)).collect();
    assert!(parked[0].starts_with("kernel.lockdown: unknown variant `more`"), "{parked:?}");
    assert!(parked[1].starts_with("newer.than.this: there is no 'newer'"), "{parked:?}");
    assert!(!format!("{carried:?}").contains("hunter2"));
}

#[test]
fn a_value_where_an_older_system_has_a_table_is_parked() {
    let takes_all = |_: &Key, _: &Value| None;
    let mut own = Content::default();
    own.set(&key("a.b"), json!(1), "uid 0", now()).unwrap();
    let mut ran = Content { revision: own.revision, ..Content::default() };
    ran.set(&key("a.b.c"), json!(2), "uid 0", now()).unwrap();
    let back = replay(&own, &ran, Since::All, takes_all);
    assert!(back.parked[&key("a.b.c")].why.contains("together with a.b"));
    assert_eq!(back.overrides.len(), 1);
}

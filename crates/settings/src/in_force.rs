//! What a node boots with: the newest settings that are sound.
//!
//! ```text
//! the newest generation -> the same without its user data -> older generations -> image and facts alone -> nothing
//! ```
//!
//! A document is taken as a whole or not at all. Leaving out the one key that is wrong would make the rest say something else: an
//! opening of the firewall without its `from` is open to everybody.

use std::fmt;

use crate::{
    Effective, Layers, Problems,
    store::{Content, Generation},
};

/// Where settings are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// A generation, on top of image and facts.
    Generation(u64),
    /// A generation without its user data.
    WithoutUserData(u64),
    /// Image and facts alone.
    Image,
    /// None: the image's own are wrong.
    Nothing,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation(number) => write!(f, "generation {number} of the settings"),
            Self::WithoutUserData(number) => write!(f, "generation {number} of the settings without its user data"),
            Self::Image => f.write_str("the image's settings alone"),
            Self::Nothing => f.write_str("no settings"),
        }
    }
}

/// What a node boots with, and what it does not.
#[derive(Debug, Clone)]
pub struct InForce {
    /// What is in force.
    pub effective: Effective,
    /// Where it is from.
    pub from: Choice,
    /// What was tried before, and everything that is wrong with it: empty on a node that is as it should be.
    pub refused: Vec<(Choice, Problems)>,
}

/// Chooses from generations, the newest first, on top of image and facts. It always comes to something: a node that cannot be reached
/// can be mended by nobody.
pub fn in_force(below: &Layers, history: &[Generation]) -> InForce {
    let mut refused = Vec::new();
    let nothing = Content::default();
    let newest = history.first().filter(|newest| !newest.content.user_data.is_empty());
    let without = newest.map(|newest| (newest.number, Content { user_data: Vec::new(), ..newest.content.clone() }));
    let mut choices: Vec<(Choice, &Content)> =
        history.iter().map(|generation| (Choice::Generation(generation.number), &generation.content)).collect();
    if let Some((number, content)) = &without {
        choices.insert(1, (Choice::WithoutUserData(*number), content));
    }
    choices.push((Choice::Image, &nothing));
    for (from, content) in choices {
        let mut layers = below.clone();
        content.add_to(&mut layers);
        match layers.resolve() {
            Ok(effective) => return InForce { effective, from, refused },
            Err(problems) => refused.push((from, problems)),
        }
    }
    InForce { effective: Effective::default(), from: Choice::Nothing, refused }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};

    use super::*;
    use crate::{Key, SetBy, Tree, userdata};

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-11-23T01:02:03Z".parse().unwrap()
    }

    fn generation(number: u64, user_data: Option<&str>, overrides: &[(&str, Value)]) -> Generation {
        let mut content = Content::default();
        if let Some(text) = user_data {
            content.set_user_data("nocloud", "", userdata::parse(text.as_bytes()).unwrap());
        }
        for (name, value) in overrides {
            content.set(&key(name), value.clone(), "uid 0", now()).unwrap();
        }
        Generation { number, written: now(), by: String::new(), why: String::new(), content }
    }

    fn image(value: Value) -> Layers {
        let mut layers = Layers::default();
        layers.add(&Tree::from_value(value).unwrap(), |_| SetBy::File { path: "/usr/lib/a.toml".into() });
        layers
    }

    #[test]
    fn broken_user_data_is_left_out_as_a_whole_and_its_line_is_told() {
        let data = "[settings]\nmotd = 'user data'\n[settings.firewall.open.a]\nprotocol = 'tcp'\nport = 22\nreason = 'r'\n\
                    from = ['10.0.0.1/8']\n";
        let newest = generation(3, Some(data), &[("network.hostname", json!("operator"))]);
        let older = generation(2, None, &[("network.hostname", json!("older"))]);
        let chosen = in_force(&image(json!({"motd": "image"})), &[newest, older]);
        assert_eq!(chosen.from, Choice::WithoutUserData(3));
        let settings = &chosen.effective.settings;
        assert_eq!(settings.motd.as_ref().unwrap().as_str(), "image");
        assert_eq!(settings.network.hostname.as_ref().unwrap().as_str(), "operator");
        // Not open to everybody.
        assert!(settings.firewall.open.is_empty());
        let [(Choice::Generation(3), problems)] = chosen.refused.as_slice() else { panic!("{:?}", chosen.refused) };
        let told = problems.to_string();
        assert!(told.starts_with("firewall.open.a.from, set by line 7 of the user data (nocloud): "), "{told}");
    }

    #[test]
    fn the_newest_sound_generation_counts_else_the_image_else_nothing() {
        let wrong = [("network.hostname", json!("-"))];
        let history = [generation(3, Some("[settings]\nmotd = 'a'\n"), &wrong), generation(2, None, &wrong)];
        let sound = generation(1, Some("[settings]\nmotd = 'first'\n"), &[]);
        let chosen = in_force(&image(json!({"motd": "image"})), &[history.as_slice(), &[sound]].concat());
        assert_eq!((chosen.from, chosen.refused.len()), (Choice::Generation(1), 3));
        assert_eq!(chosen.effective.settings.motd.unwrap().as_str(), "first");
        let chosen = in_force(&image(json!({"motd": "image"})), &history);
        assert_eq!((chosen.from, chosen.refused.len()), (Choice::Image, 3));
        let chosen = in_force(&image(json!({"motd": 1})), &history);
        assert_eq!((chosen.from, chosen.refused.len()), (Choice::Nothing, 4));
        assert!(chosen.effective.tree.is_empty());
        let chosen = in_force(&image(json!({"motd": "image"})), &[]);
        assert_eq!((chosen.from, chosen.refused.len()), (Choice::Image, 0));
        assert_eq!(chosen.from.to_string(), "the image's settings alone");
    }
}

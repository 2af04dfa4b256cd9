//! Which of what was handed in counts.

use super::{Handed, Said};
use crate::{Layers, Problem, Problems, SetBy, model::refusal, store::Content, userdata::Document};

/// A document that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Who handed it in.
    pub provider: &'static str,
    /// Everything that is wrong with it, each with its line.
    pub problems: Vec<Problem>,
}

/// What handing in came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// What is to be stored; as it was where nothing differs.
    pub content: Content,
    /// Who changed something.
    pub changed: Vec<&'static str>,
    /// What does not count.
    pub refused: Vec<Refused>,
    /// Who waits for the network.
    pub waiting: Vec<&'static str>,
}

/// Takes what was handed in over what is stored. A document counts as a whole or not at all: one that makes settings unsound, together
/// with what lies below and over it, is refused, and what is remembered of its provider stays.
pub fn take(stored: &Content, below: &Layers, handed: Vec<Handed>) -> Taken {
    let (mut changes, mut refused, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for Handed { provider, said } in handed {
        match said {
            Said::Same => {}
            Said::Later => waiting.push(provider.name),
            Said::Wrong(message) => {
                refused.push(Refused { provider: provider.name, problems: vec![of_all(provider.name, message)] });
            }
            Said::Nothing => changes.push((provider.name, said)),
            Said::Document { ref document, .. } => {
                // What another document covers shows nothing below, and would once that is gone.
                let problems = alone(provider.name, document);
                match problems.is_empty() {
                    true => changes.push((provider.name, said)),
                    false => refused.push(Refused { provider: provider.name, problems }),
                }
            }
        }
    }
    let before = problems(below, stored);
    // Together, for one may need what another brings; where that is not sound, each that is.
    let mut content = stored.clone();
    let mut changed: Vec<_> =
        changes.iter().filter(|(name, said)| change(&mut content, name, said)).map(|(name, _)| *name).collect();
    if !new_problems(below, &content, &before).is_empty() {
        content = stored.clone();
        changed.clear();
        for (name, said) in &changes {
            let mut with = content.clone();
            if !change(&mut with, name, said) {
                continue;
            }
            let problems = new_problems(below, &with, &before);
            if problems.is_empty() {
                content = with;
                changed.push(*name);
            } else {
                refused.push(Refused { provider: name, problems });
            }
        }
    }
    Taken { content, changed, refused, waiting }
}

/// False where it is as it was.
fn change(content: &mut Content, provider: &str, said: &Said) -> bool {
    match said {
        Said::Document { sha256, document } => content.set_user_data(provider, sha256, document.clone()),
        _ => content.unset_user_data(provider),
    }
}

fn problems(below: &Layers, content: &Content) -> Vec<Problem> {
    let mut layers = below.clone();
    content.add_to(&mut layers);
    layers.resolve().err().as_ref().map(Problems::all).unwrap_or_default().to_vec()
}

/// What was sound before, or wrong in another way: an image whose own settings are wrong is not the document's fault.
fn new_problems(below: &Layers, content: &Content, before: &[Problem]) -> Vec<Problem> {
    problems(below, content).into_iter().filter(|problem| !before.contains(problem)).collect()
}

/// What is wrong with each of its keys by itself.
fn alone(provider: &str, document: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in document.tree.leaves() {
        let line = document.lines.get(&key).copied();
        let set_by = Some(SetBy::UserData { provider: provider.to_owned(), line });
        problems.extend(refusal(&key, &value).map(|message| Problem { key: Some(key), set_by, message }));
    }
    problems
}

fn of_all(provider: &str, message: String) -> Problem {
    let set_by = SetBy::UserData { provider: provider.to_owned(), line: None };
    Problem { key: None, set_by: Some(set_by), message }
}

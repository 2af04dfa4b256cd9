//! What a policy says of an image, and why: for people, and as JSON.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rocketos_model::{ImageReference, ManifestDigest};
use serde::Serialize;

use crate::signature::{Flaw, Form};

/// How an image fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Accepted: enough keys signed it.
    Signed,
    /// Accepted: the policy asks for no signature, in so many words.
    Unsigned,
    /// Not accepted.
    Refused,
}

/// The entry of a policy that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The entry, as it stands in the file.
    pub entry: String,
    /// The file.
    pub path: PathBuf,
}

/// Keys that a policy asked for, and those that were found to have signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Satisfied {
    /// Names of the keys that count.
    pub keys: Vec<String>,
    /// How many of them must have signed.
    pub threshold: usize,
    /// Which name the signatures must have been made for, in words.
    pub identity: String,
    /// Those that have, each once.
    pub signed_by: Vec<String>,
}

impl Satisfied {
    /// True where enough have.
    pub fn is_met(&self) -> bool {
        self.signed_by.len() >= self.threshold
    }
}

/// A signature that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Examined {
    /// Where it was found.
    pub found_at: String,
    /// Its form.
    pub form: Form,
    /// The key that made it, where the policy knows it.
    pub key: Option<String>,
    /// Why it does not count; absent where it does.
    #[serde(serialize_with = "in_words")]
    pub flaw: Option<Flaw>,
}

fn in_words<S: serde::Serializer>(flaw: &Option<Flaw>, serializer: S) -> Result<S::Ok, S::Error> {
    match flaw {
        Some(flaw) => serializer.collect_str(flaw),
        None => serializer.serialize_none(),
    }
}

/// What was checked against what, and how it came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// The image, by the name it was asked for.
    pub reference: ImageReference,
    /// The image, by what is signed.
    pub manifest_digest: ManifestDigest,
    /// How it fares.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub reason: String,
    /// Which entry decided; absent where none speaks of the image.
    pub rule: Option<Rule>,
    /// Which keys it asked for.
    pub demands: Vec<Satisfied>,
    /// Each signature that was handed in.
    pub signatures: Vec<Examined>,
}

/// An image that the policy does not accept.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} ({}) is refused: {}", .0.reference, .0.manifest_digest, .0.reason)]
pub struct Refused(pub Box<Verdict>);

impl Verdict {
    /// Passes where the image is accepted.
    ///
    /// # Errors
    /// When it is not.
    pub fn require(&self) -> Result<(), Refused> {
        match self.outcome {
            Outcome::Signed | Outcome::Unsigned => Ok(()),
            Outcome::Refused => Err(Refused(Box::new(self.clone()))),
        }
    }

    /// The file that decided.
    pub fn path(&self) -> Option<&Path> {
        self.rule.as_ref().map(|rule| rule.path.as_path())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Signed | Outcome::Unsigned => "accepted",
            Outcome::Refused => "refused",
        };
        writeln!(f, "{outcome}: {}", self.reason)?;
        writeln!(f, "image: {} ({})", self.reference, self.manifest_digest)?;
        match &self.rule {
            Some(rule) => writeln!(f, "policy: {} in {}", rule.entry, rule.path.display())?,
            None => writeln!(f, "policy: no entry")?,
        }
        for demand in &self.demands {
            write!(f, "wanted: {} of {}", demand.threshold, demand.keys.join(", "))?;
            writeln!(f, ", made for {}; found: {}", demand.identity, list(&demand.signed_by))?;
        }
        for signature in &self.signatures {
            let form = match signature.form {
                Form::SimpleSigning => "simple signing",
                Form::Bundle => "bundle",
                Form::Unreadable => "unreadable",
            };
            write!(f, "signature: {form} at {}", signature.found_at)?;
            if let Some(key) = &signature.key {
                write!(f, " by {key}")?;
            }
            match &signature.flaw {
                Some(flaw) => writeln!(f, ": does not count, {flaw}")?,
                None => writeln!(f, ": counts")?,
            }
        }
        Ok(())
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

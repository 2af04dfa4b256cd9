//! The signatures by which an image was accepted, in a form that keeps: who asks later needs no network.
//!
//! Nothing of it is believed when it is read: the signatures are judged again, by the policy of that day.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::sha::sha256;
use rocketos_model::ManifestDigest;
use serde::{Deserialize, Serialize};

use crate::{
    limits,
    signature::{Content, Signature, Subject},
    verdict::Verdict,
};

/// The form that is written.
const FORM: u32 = 1;
/// Indexes that may lead from what was signed to the manifest.
const INDEXES: usize = 4;

/// What was kept cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// No such document.
    #[error("the kept signatures are malformed")]
    Parse(#[source] serde_json::Error),
    /// Written by another version of this program.
    #[error("the kept signatures have form {0}, and this program reads {FORM}")]
    Form(u32),
    /// Bytes that are no base64.
    #[error("the kept signatures are malformed: {0}")]
    Base64(#[from] base64::DecodeError),
    /// A bound was passed.
    #[error("the kept signatures have more than {limit} {what}")]
    TooMany {
        /// What was counted.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// Signatures of something else.
    #[error("the kept signatures are of an index that does not name {0}")]
    OtherImage(ManifestDigest),
}

/// Signatures, and what they are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The indexes that led to the manifest, the innermost first; the last is what was signed. Where there is none, the
    /// manifest itself was.
    pub indexes: Vec<Vec<u8>>,
    signatures: Vec<Signed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Signed {
    found_at: String,
    /// A payload in simple signing; absent in a bundle.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    signature: Option<String>,
    /// The payload, or the bundle; base64.
    content: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    form: u32,
    #[serde(default)]
    indexes: Vec<String>,
    signatures: Vec<Signed>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

impl Kept {
    /// Of `signatures`, which `verdict` was reached by, those that count. `indexes` led from what was signed to the manifest,
    /// the innermost first.
    pub fn of(verdict: &Verdict, signatures: &[Signature], indexes: &[Vec<u8>]) -> Self {
        let counted = signatures.iter().zip(&verdict.signatures).filter(|(_, examined)| examined.flaw.is_none());
        let signed = |signature: &Signature| {
            let (content, beside) = match &signature.content {
                Content::Simple { payload, signature } => (payload, Some(signature.clone())),
                Content::Bundle(bytes) => (bytes, None),
                Content::Unreadable(_) => return None,
            };
            let found_at = signature.found_at().to_owned();
            Some(Signed { found_at, signature: beside, content: STANDARD.encode(content) })
        };
        Self { indexes: indexes.to_vec(), signatures: counted.filter_map(|(signature, _)| signed(signature)).collect() }
    }

    /// The document to keep.
    pub fn to_json(&self) -> String {
        let indexes = self.indexes.iter().map(|index| STANDARD.encode(index)).collect();
        let document = Document { form: FORM, indexes, signatures: self.signatures.clone() };
        // Only maps with keys that are not strings fail to serialise; there is none.
        serde_json::to_string(&document).expect("a flat structure of strings serialises")
    }

    /// Reads the document again.
    ///
    /// # Errors
    /// When it is not what [`Kept::to_json`] writes.
    pub fn from_json(text: &str) -> Result<Self, KeptError> {
        let document: Document = serde_json::from_str(text).map_err(KeptError::Parse)?;
        if document.form != FORM {
            return Err(KeptError::Form(document.form));
        }
        let bound = |what, found: usize, limit| match found > limit {
            true => Err(KeptError::TooMany { what, limit }),
            false => Ok(()),
        };
        bound("indexes", document.indexes.len(), INDEXES)?;
        bound("signatures", document.signatures.len(), limits::SIGNATURES)?;
        let indexes = document.indexes.iter().map(|index| STANDARD.decode(index)).collect::<Result<_, _>>()?;
        Ok(Self { indexes, signatures: document.signatures })
    }

    /// What was signed, where that led to `manifest`.
    ///
    /// # Errors
    /// When it did not.
    pub fn subject<'a>(&'a self, manifest: &'a [u8]) -> Result<Subject<'a>, KeptError> {
        let (mut subject, mut named) = (manifest, ManifestDigest::from_bytes(sha256(manifest)));
        for index in &self.indexes {
            let parsed: Index = serde_json::from_slice(index).map_err(KeptError::Parse)?;
            if !parsed.manifests.iter().any(|entry| entry.digest == named.to_string()) {
                return Err(KeptError::OtherImage(named));
            }
            (subject, named) = (index, ManifestDigest::from_bytes(sha256(index)));
        }
        Ok(Subject::of(subject))
    }

    /// The signatures, for a judge.
    ///
    /// # Errors
    /// When they are malformed.
    pub fn signatures(&self) -> Result<Vec<Signature>, KeptError> {
        let read = |signed: &Signed| {
            let content = STANDARD.decode(&signed.content)?;
            Ok(match &signed.signature {
                Some(signature) => Signature::simple(&signed.found_at, content, signature),
                None => Signature::bundle(&signed.found_at, content),
            })
        };
        self.signatures.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Examined, Outcome};

    fn examined(signature: &Signature, counts: bool) -> Examined {
        let flaw = (!counts).then_some(crate::Flaw::OtherKey);
        Examined { found_at: signature.found_at().to_owned(), form: signature.form(), key: None, flaw }
    }

    #[test]
    fn keeps_what_counted_and_nothing_else() {
        let signatures = [
            Signature::simple("a", b"payload".to_vec(), "c2ln"),
            Signature::bundle("b", b"{}".to_vec()),
            Signature::unreadable("c", "junk"),
            Signature::bundle("d", b"junk".to_vec()),
        ];
        let manifest = b"{}";
        let index = format!(r#"{{"manifests":[{{"digest":"{}"}}]}}"#, Subject::of(manifest).digest()).into_bytes();
        let verdict = Verdict {
            reference: "docker://registry.example/a:1".parse().unwrap(),
            manifest_digest: Subject::of(manifest).digest(),
            outcome: Outcome::Signed,
            reason: String::new(),
            rule: None,
            demands: Vec::new(),
            signatures: signatures
                .iter()
                .zip([true, true, true, false])
                .map(|(s, counts)| examined(s, counts))
                .collect(),
        };
        let kept = Kept::of(&verdict, &signatures, std::slice::from_ref(&index));
        let read = Kept::from_json(&kept.to_json()).unwrap();
        assert_eq!(read, kept);
        let found: Vec<_> = read.signatures().unwrap().iter().map(|found| found.found_at().to_owned()).collect();
        assert_eq!(found, ["a", "b"]);
        assert_eq!(read.subject(manifest).unwrap().digest(), Subject::of(&index).digest());
        assert!(matches!(read.subject(b"another"), Err(KeptError::OtherImage(_))));
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        for text in ["", "{}", r#"{"form":2,"signatures":[]}"#, r#"{"form":1,"indexes":["?"],"signatures":[]}"#] {
            assert!(Kept::from_json(text).is_err(), "{text}");
        }
        let many = [r#""e30=""#; INDEXES + 1].join(",");
        let text = format!(r#"{{"form":1,"indexes":[{many}],"signatures":[]}}"#);
        assert!(matches!(Kept::from_json(&text), Err(KeptError::TooMany { what: "indexes", .. })));
    }
}

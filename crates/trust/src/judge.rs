//! The decision: policy, image and signatures in, verdict out. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rocketos_model::ImageReference;

use crate::{
    Policy,
    key::{Algorithm, PublicKey},
    limits,
    policy::{Accept, Demand},
    signature::{Flaw, Signature, Subject},
    verdict::{Examined, Outcome, Rule, Satisfied, Verdict},
};

/// What `policy` says of the image `subject`, asked for as `reference`, given the signatures that were found.
///
/// Given none, it tells whether any would help: where `demands` of the verdict is empty, nothing needs to be fetched.
/// A local path in `reference` must be absolute and free of links, as `canonicalize` makes it.
#[must_use = "an image is accepted by Verdict::require alone"]
pub fn judge(policy: &Policy, reference: &ImageReference, subject: &Subject<'_>, signatures: &[Signature]) -> Verdict {
    let mut verdict = Verdict {
        reference: reference.clone(),
        manifest_digest: subject.digest(),
        outcome: Outcome::Refused,
        reason: String::new(),
        rule: None,
        demands: Vec::new(),
        signatures: Vec::new(),
    };
    let Some((name, entry)) = policy.entry(reference) else {
        verdict.reason = no_entry(policy, reference);
        return verdict;
    };
    verdict.rule = Some(Rule { entry: name.clone(), path: entry.path.clone() });
    let at = format!("{name} of {}", entry.path.display());
    let demands = match &entry.accept {
        Accept::Unsigned => {
            verdict.outcome = Outcome::Unsigned;
            verdict.reason = format!("{at} asks for no signature");
            return verdict;
        }
        Accept::Nothing => {
            verdict.reason = format!("{at} accepts no image; take another one, or change the policy");
            return verdict;
        }
        Accept::Unsupported(what) => {
            verdict.reason = format!(
                "{what} of {} cannot be checked here; write a policy of ours (docs/trust.md)",
                entry.path.display()
            );
            return verdict;
        }
        Accept::Signed(demands) => demands,
    };
    if signatures.len() > limits::SIGNATURES {
        let found = signatures.len();
        verdict.reason = format!("{found} signatures were found, more than {}; remove some", limits::SIGNATURES);
        return verdict;
    }
    decide(&mut verdict, demands, subject, signatures);
    verdict.reason = explain(&verdict, &at);
    verdict
}

fn no_entry(policy: &Policy, reference: &ImageReference) -> String {
    match policy.is_absent() {
        true => {
            "there is no policy, so nothing is accepted; an image carries one in /usr/lib/rocketos/trust/policy.toml, \
             a node may have one in /etc/rocketos/trust/policy.toml"
                .to_owned()
        }
        false => format!(
            "the policy has no entry for {reference}; add one that names its keys, or that says accept = \"unsigned\""
        ),
    }
}

/// Looks at every signature, and counts each key once for each demand.
fn decide(verdict: &mut Verdict, demands: &[Demand], subject: &Subject<'_>, signatures: &[Signature]) {
    verdict.demands = demands
        .iter()
        .map(|demand| Satisfied {
            keys: demand.keys.iter().map(|key| key.name().to_owned()).collect(),
            threshold: demand.threshold,
            identity: demand.identity.to_string(),
            signed_by: Vec::new(),
        })
        .collect();
    for signature in signatures {
        let mut examined =
            Examined { found_at: signature.found_at().to_owned(), form: signature.form(), key: None, flaw: None };
        if let Err(flaw) = examine(signature, subject, demands, verdict, &mut examined.key) {
            examined.flaw = Some(flaw);
        }
        verdict.signatures.push(examined);
    }
    // No demand at all is no proof: an entry without one is never `Signed`.
    if !verdict.demands.is_empty() && verdict.demands.iter().all(Satisfied::is_met) {
        verdict.outcome = Outcome::Signed;
    }
}

/// Counts one signature for every demand that it serves; the flaw is that of the last demand where it serves none.
fn examine(
    signature: &Signature,
    subject: &Subject<'_>,
    demands: &[Demand],
    verdict: &mut Verdict,
    made_by: &mut Option<String>,
) -> Result<(), Flaw> {
    let opened = signature.open(subject)?;
    let mut keys: Vec<&PublicKey> = Vec::new();
    for key in demands.iter().flat_map(|demand| &demand.keys) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let found = keys.iter().find(|key| key.verifies(&opened.message, &opened.signature));
    let Some(key) = found.copied() else { return Err(stranger(&keys, opened.hint.as_deref())) };
    *made_by = Some(key.name().to_owned());
    let signed_for = opened.says.of(subject)?;
    let mut result = Err(Flaw::OtherKey);
    for (demand, satisfied) in demands.iter().zip(&mut verdict.demands) {
        // One key may have a name in each demand.
        let Some(named) = demand.keys.iter().find(|other| **other == *key) else { continue };
        if demand.identity != crate::Identity::Any {
            let expected = demand.identity.to_string();
            let flaw = match &signed_for {
                None => Some(Flaw::NoIdentity { expected }),
                Some(found) if !demand.identity.allows(&verdict.reference, found) => {
                    Some(Flaw::OtherIdentity { found: found.clone(), expected })
                }
                Some(_) => None,
            };
            if let Some(flaw) = flaw {
                result = result.or(Err(flaw));
                continue;
            }
        }
        let name = named.name().to_owned();
        if satisfied.signed_by.contains(&name) {
            result = result.or(Err(Flaw::Duplicate));
            continue;
        }
        satisfied.signed_by.push(name);
        result = Ok(());
    }
    result
}

/// What to say of a signature that no key made; the hint is believed for the wording alone.
fn stranger(keys: &[&PublicKey], hint: Option<&str>) -> Flaw {
    let named = |key: &&&PublicKey| hint.is_some_and(|hint| STANDARD.encode(key.fingerprint()) == hint);
    match keys.iter().filter(|key| key.algorithm() == Algorithm::Ed25519).find(named) {
        Some(key) => Flaw::Prehashed { key: key.name().to_owned() },
        None => Flaw::OtherKey,
    }
}

/// The reason in a sentence.
fn explain(verdict: &Verdict, at: &str) -> String {
    let unmet = verdict.demands.iter().find(|demand| !demand.is_met());
    let Some(demand) = unmet else {
        let by: Vec<String> = verdict.demands.iter().map(|demand| demand.signed_by.join(", ")).collect();
        return format!("signed by {}, as {at} wants", by.join("; "));
    };
    let (threshold, keys) = (demand.threshold, demand.keys.join(", "));
    let wanted = match demand.keys.len() {
        1 => format!("a signature by {keys}"),
        _ => format!("signatures by {threshold} of {keys}"),
    };
    let found = match (demand.signed_by.as_slice(), verdict.signatures.as_slice()) {
        ([], []) => "no signature was found".to_owned(),
        ([], all) => {
            // The nearest miss says most: a known key's signature before a stranger's.
            let nearest = all.iter().find(|one| one.key.is_some() && one.flaw.is_some()).or(all.first());
            let flaw = nearest.and_then(|one| one.flaw.as_ref().map(|flaw| format!("{}: {flaw}", one.found_at)));
            format!("none of {} found counts ({})", all.len(), flaw.unwrap_or_else(|| "none serves".to_owned()))
        }
        (by, _) => format!("found only {}", by.join(", ")),
    };
    format!("{at} wants {wanted}, and {found}; have it signed, or take an image that is")
}

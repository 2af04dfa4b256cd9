//! Exit codes and the one line an error prints.

use std::process::ExitCode;

use rocketos_api::{Kind, Problem};
use rocketos_boot::BootError;
use rocketos_deploy::DeployError;
use rocketos_model::DeploymentId;
use rocketos_oci::OciError;
use rocketos_store::StoreError;
use rocketos_trust::{PolicyError, Refused};

use crate::{api::NoApi, bring::NotTheRelease, health::Unhealthy, host_containers::NoPlace, pull::Unbootable};

/// Something failed that no other code names.
const FAILED: u8 = 1;
/// Another rocketctl is at work, or was faster (sysexits.h, EX_TEMPFAIL).
const LOCKED: u8 = 75;
/// A disk is full (sysexits.h, EX_CANTCREAT).
const FULL: u8 = 73;
/// What arrived is not what was named: a digest, a seal; or settings are wrong (sysexits.h, EX_DATAERR).
const REFUSED: u8 = 65;
/// The registry, or the API, could not be reached or did not answer (sysexits.h, EX_UNAVAILABLE).
const UNAVAILABLE: u8 = 69;
/// A required health check did not pass (sysexits.h, EX_SOFTWARE).
const UNHEALTHY: u8 = 70;
/// Something on the disk is damaged and was not mended (sysexits.h, EX_IOERR).
const DAMAGED: u8 = 74;
/// The policy does not allow the image, or cannot be read and so allows none; or who asks may not (sysexits.h, EX_NOPERM).
const NOT_ALLOWED: u8 = 77;

/// Settings name what nobody can find for them (sysexits.h, EX_CONFIG).
const NOWHERE: u8 = 78;

/// What the codes mean, for `--help`.
pub const HELP: &str = "Exit codes: 0 done; 1 failed; 2 wrong usage; 65 the image is not what it should be, or settings are wrong; \
69 the registry or the API does not answer; 70 a required health check did not pass; 73 a disk is full; \
74 something on the disk is damaged; 75 another rocketctl is at work, or was faster; \
77 the policy does not allow the image, or this to who asks; 78 settings name an image of no place.";

/// What a scrub could not mend.
#[derive(Debug, thiserror::Error)]
#[error("{left} things in the store are damaged; 'rocketctl status' says what else could boot")]
pub struct Damaged {
    /// How many.
    pub left: usize,
}

/// What runs, or would, is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("deployment {deployment} is not what it should be: {failed} failed")]
pub struct NotVerified {
    /// Which.
    pub deployment: DeploymentId,
    /// Names of the checks.
    pub failed: String,
}

/// Nobody said whether it should be.
#[derive(Debug, thiserror::Error)]
#[error("deployment {0} is what was installed, but whether that was signed was not asked")]
pub struct NotAsked(pub DeploymentId);

/// The error with its causes, each once.
pub fn chain(error: &anyhow::Error) -> String {
    join(error.chain())
}

/// The same of a library's error.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    join(std::iter::successors(Some(error), |error| error.source()))
}

fn join<'a>(causes: impl Iterator<Item = &'a (dyn std::error::Error + 'static)>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes {
        let text = cause.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// The code for an error.
pub fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(number(error))
}

fn number(error: &anyhow::Error) -> u8 {
    error.chain().find_map(of_cause).unwrap_or(FAILED)
}

/// What an error is to who asks by the API.
pub fn kind_of(error: &anyhow::Error) -> Kind {
    kind(number(error))
}

/// What a verb's exit code is to who asks by the API.
pub fn kind(code: u8) -> Kind {
    match code {
        LOCKED => Kind::Busy,
        FULL => Kind::Full,
        REFUSED | NOT_ALLOWED => Kind::Refused,
        UNAVAILABLE => Kind::Unreachable,
        _ => Kind::Failed,
    }
}

/// The code for what the API says.
fn of_problem(kind: Kind) -> Option<u8> {
    match kind {
        Kind::Full => Some(FULL),
        Kind::Locked | Kind::Busy | Kind::Stale | Kind::TooMany | Kind::Crowded => Some(LOCKED),
        Kind::Malformed | Kind::TooLarge | Kind::MediaType | Kind::Invalid | Kind::Refused => Some(REFUSED),
        Kind::NotPermitted => Some(NOT_ALLOWED),
        Kind::Unreachable => Some(UNAVAILABLE),
        _ => None,
    }
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if cause.is::<Damaged>() {
        return Some(DAMAGED);
    }
    if cause.is::<NotAsked>() {
        return Some(UNAVAILABLE);
    }
    if cause.is::<Unbootable>() || cause.is::<NotTheRelease>() || cause.is::<NotVerified>() {
        return Some(REFUSED);
    }
    if cause.is::<NoPlace>() {
        return Some(NOWHERE);
    }
    if cause.is::<Unhealthy>() {
        return Some(UNHEALTHY);
    }
    if cause.is::<Refused>() || cause.is::<PolicyError>() {
        return Some(NOT_ALLOWED);
    }
    if cause.is::<rocketos_settings::userdata::UserDataError>() {
        return Some(REFUSED);
    }
    if cause.is::<NoApi>() {
        return Some(UNAVAILABLE);
    }
    if let Some(problem) = cause.downcast_ref::<Problem>() {
        return of_problem(problem.kind);
    }
    if let Some(error) = cause.downcast_ref::<BootError>() {
        return error.is_full().then_some(FULL);
    }
    if let Some(error) = cause.downcast_ref::<DeployError>() {
        return match error {
            DeployError::Locked(_) => Some(LOCKED),
            DeployError::SealBroken { .. } | DeployError::Uki(_) | DeployError::Cmdline(_) => Some(REFUSED),
            error if error.is_full() => Some(FULL),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return match error {
            StoreError::Busy { .. } => Some(LOCKED),
            StoreError::Unlisted(_) => Some(DAMAGED),
            StoreError::DiffId { .. }
            | StoreError::NotSealed { .. }
            | StoreError::NoContainer(_)
            | StoreError::Layer(_) => Some(REFUSED),
            error if error.is_full() => Some(FULL),
            _ => None,
        };
    }
    match cause.downcast_ref::<OciError>()? {
        OciError::Unreachable { .. }
        | OciError::Tls { .. }
        | OciError::TooManyRequests { .. }
        | OciError::ServerError { .. }
        | OciError::Interrupted { .. } => Some(UNAVAILABLE),
        OciError::ManifestDigestMismatch { .. }
        | OciError::ConfigDigestMismatch { .. }
        | OciError::LayerDigestMismatch { .. }
        | OciError::Truncated { .. }
        | OciError::Oversized { .. }
        | OciError::Limit { .. }
        | OciError::WrongArchitecture { .. }
        | OciError::UnsupportedMediaType { .. } => Some(REFUSED),
        _ => None,
    }
}

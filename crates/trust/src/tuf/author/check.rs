//! What nodes would make of a publication.

use std::{path::Path, time::SystemTime};

use super::{AuthorError, Publication, Top};
use crate::tuf::{Client, State, TargetName, Transport};

/// Has our client follow what is served at `before`, however long ago it expired, and then `next`: what a node would
/// refuse that saw `before`, is refused here. `state` is an empty folder.
///
/// # Errors
/// When a node would not take `next`, or `before` is newer than it or another publisher's.
pub async fn check<T: Transport>(
    state: &Path,
    root: &[u8],
    before: Option<(&'static str, T)>,
    known: Option<[u64; 2]>,
    next: &Publication,
    now: SystemTime,
) -> Result<(), AuthorError> {
    if let Some((what, before)) = before {
        let unfollowed = |source| AuthorError::Unfollowed { what, source: Box::new(source) };
        let mut client = Client::open(State::open(state)?, Some(root), before).map_err(unfollowed)?;
        // Nothing had expired by then.
        let fresh = client.refresh(SystemTime::UNIX_EPOCH).await.map_err(unfollowed)?;
        let found = [fresh.timestamp_version(), fresh.targets_version()];
        for ((role, found), known) in [Top::Timestamp, Top::Targets].into_iter().zip(found).zip(known.unwrap_or([0; 2]))
        {
            if found > known {
                return Err(AuthorError::Newer { what, role, found, known });
            }
        }
    }
    let unfollowed = |source| AuthorError::Unfollowed { what: "what would be published", source: Box::new(source) };
    let mut client = Client::open(State::open(state)?, Some(root), next).map_err(unfollowed)?;
    let fresh = client.refresh(now).await.map_err(unfollowed)?;
    let names: Vec<String> = fresh.targets().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let target = fresh.find(&TargetName::new(&name).map_err(unfollowed)?).await.map_err(unfollowed)?;
        fresh.fetch(&target).await.map_err(unfollowed)?;
    }
    Ok(())
}

/// The versions of the timestamp and the targets document that are published; none where nothing is.
///
/// # Errors
/// When they are none of ours.
pub fn versions(published: &Publication) -> Result<Option<[u64; 2]>, AuthorError> {
    let Some(current) = published.current()? else { return Ok(None) };
    Ok(Some([current.timestamp, super::TargetsDocument::read(&current.targets)?.version]))
}

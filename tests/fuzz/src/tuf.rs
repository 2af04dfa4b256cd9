//! A repository of release metadata with one document that the target is given, signed as it should be.
//!
//! What is no JSON, or has signatures of its own, is served as it is; anything else is signed by the role's key.

pub(crate) mod delegated;
mod repository;
pub(crate) mod root;
pub(crate) mod snapshot;
pub(crate) mod targets;
pub(crate) mod timestamp;

use std::{
    cell::LazyCell,
    time::{Duration, SystemTime},
};

use rocketos_trust::tuf::{Client, Fresh, Saved, State, TargetName, TufError, limits};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::scratch;
use repository::Repository;

/// 2030-01-01, when seeds are fresh.
const NOW: u64 = 1_893_456_000;
/// Targets that are looked for.
const FOUND: usize = 4;

thread_local! {
    static NODE: LazyCell<(TempDir, Runtime)> = LazyCell::new(|| (scratch::folder(), scratch::runtime()));
}

/// The roles whose documents are fuzzed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fuzzed {
    Root,
    Timestamp,
    Snapshot,
    Targets,
    Delegated,
}

/// Follows a repository with this document, twice: what was kept the first time is trusted the second.
fn follow(role: Fuzzed, bytes: &[u8]) {
    let repository = Repository::with(role, bytes);
    NODE.with(|node| {
        let (folder, runtime) = &**node;
        scratch::clear(folder.path());
        let state = folder.path().join("state");
        let first = update(runtime, &state, Some(&repository.shipped()), &repository);
        if let Ok(versions) = first {
            let again = update(runtime, &state, None, &repository);
            assert_eq!(again.expect("what was kept is trusted"), versions);
        }
    });
}

fn update(
    runtime: &Runtime,
    state: &std::path::Path,
    shipped: Option<&[u8]>,
    repository: &Repository,
) -> Result<[u64; 4], TufError> {
    let state = State::open(state)?;
    let mut client = Client::open(state, shipped, repository)?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    runtime.block_on(async {
        let fresh = client.refresh(now).await?;
        assert!(fresh.expires() > now);
        look(&fresh).await;
        let versions = [fresh.timestamp_version(), fresh.snapshot_version(), fresh.targets_version()];
        assert!(versions.iter().all(|version| *version > 0));
        Ok([client.root_version(), versions[0], versions[1], versions[2]])
    })
}

/// Looks for targets that are listed, and for some that a delegation may have.
async fn look(fresh: &Fresh<'_, &Repository>) {
    let names = fresh.targets().map(|(name, _)| name).take(FOUND).chain(["team/a", "b", "a/b/c.d"]);
    let names: Vec<TargetName> = names.filter_map(|name| TargetName::new(name).ok()).collect();
    for name in names {
        let Ok(target) = fresh.find(&name).await else { continue };
        assert_eq!(target.name, name);
        if let Ok(content) = fresh.fetch(&target).await {
            assert!(content.len() as u64 <= limits::TARGET_BYTES_IN_MEMORY);
            assert_eq!(content, repository::CONTENT);
        }
        let folder = scratch::folder();
        if let Ok(Saved::Fetched(path) | Saved::Present(path)) = fresh.save(&target, folder.path()).await {
            assert_eq!(path.parent(), Some(folder.path()));
        }
    }
}

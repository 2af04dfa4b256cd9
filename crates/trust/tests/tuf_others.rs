//! Repositories that other implementations signed (`data/tuf`).

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/tuf.rs"]
mod support;

use std::{fs, path::Path};

use rocketos_trust::tuf::{Client, Directory, State, TargetName, TufError};
use serde_json::json;
use support::{NOW, at, block_on};

/// The bytes of a target of the repository in this folder, who names it, and what is said of it besides.
fn read(folder: &str, name: &str) -> Result<(Vec<u8>, String, Option<serde_json::Value>), TufError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tuf").join(folder);
    let root = fs::read(folder.join("metadata/1.root.json")).unwrap();
    let state = tempfile::tempdir().unwrap();
    let directory = Directory::new(folder.join("metadata"), folder.join("targets"));
    let mut client = Client::open(State::open(state.path())?, Some(&root), directory)?;
    let fresh = block_on(client.refresh(at(NOW)))?;
    let target = block_on(fresh.find(&TargetName::new(name)?))?;
    let bytes = block_on(fresh.fetch(&target))?;
    Ok((bytes, target.role.name().to_owned(), target.file.custom))
}

#[test]
fn reads_what_tough_signs() {
    assert_eq!(read("tough", "release.json").unwrap(), (b"{\"release\":1}\n".into(), "targets".into(), None));
    assert_eq!(read("tough", "team.json").unwrap(), (b"{\"team\":1}\n".into(), "team".into(), None));
}

#[test]
fn reads_what_python_tuf_signs() {
    let expected = (b"{\"release\":2}\n".into(), "bin-é".into(), Some(json!({"wave": 1})));
    assert_eq!(read("python-tuf", "a b/release.json").unwrap(), expected);
    assert!(matches!(read("python-tuf", "another"), Err(TufError::NoTarget { .. })));
}

//! Runs every corpus through its target.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, fs, path::Path};

use rocketos_fuzz::TARGETS;

/// Bytes of all corpora together.
const CORPORA_BYTES: u64 = 1 << 20;
/// Files of one corpus.
const FILES: usize = 64;

#[test]
fn every_corpus_passes_its_target() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bytes = 0;
    for (name, target) in TARGETS {
        let mut files: Vec<_> = fs::read_dir(corpora.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty() && files.len() <= FILES, "{name} has {} files", files.len());
        for file in files {
            let input = fs::read(&file).unwrap();
            bytes += input.len() as u64;
            // What panics says where; which input it was is said here.
            println!("{}", file.display());
            target(&input);
        }
    }
    assert!(bytes <= CORPORA_BYTES, "{bytes} bytes");
}

#[test]
fn every_corpus_has_a_target() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let found: BTreeSet<String> =
        fs::read_dir(corpora).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
}

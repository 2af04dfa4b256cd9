//! `release policy`.

use anyhow::Context as _;
use rocketos_trust::Policy;

use crate::{
    args::PolicyFile,
    publisher::{POLICY, Publisher, read_file},
};

/// Bytes of a policy.
const POLICY_BYTES: u64 = 1 << 20;

/// Drafts the policy, or that there is none.
pub fn run(args: &PolicyFile) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(&args.desk.dir)?;
    let bytes = match &args.file {
        None => None,
        Some(file) => {
            let reading = || format!("reading the policy {}", file.display());
            let bytes = read_file(file, POLICY_BYTES)?.with_context(|| format!("{} is not there", file.display()))?;
            let text = std::str::from_utf8(&bytes).with_context(reading)?;
            // Nodes have no file beside it: its keys have to be in it.
            Policy::parse(std::path::Path::new(POLICY), text).with_context(reading)?;
            Some(bytes)
        }
    };
    let lost = publisher.draft_target(POLICY, bytes)?;
    publisher.finish(lost, args.desk.json)
}

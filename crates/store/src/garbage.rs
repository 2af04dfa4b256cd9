//! Garbage collection.
//!
//! Roots are the named images and every image that is mounted, whoever mounted it. It takes the store's lock alone, so it
//! waits for pulls, and pulls wait for it.

use std::fs;

use rocketos_model::ComposefsDigest;

use crate::{Store, StoreError};

/// What a collection removed, or would.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes every object that no named and no mounted image needs.
    ///
    /// # Errors
    /// When anything that could be a root cannot be read; then nothing is removed.
    pub fn collect_garbage(&self, dry_run: bool) -> Result<Collected, StoreError> {
        let mounted = mounted_images()?;
        let present: Vec<String> = mounted
            .iter()
            .map(ComposefsDigest::to_hex)
            .filter(|hex| self.path.join("images").join(hex).exists())
            .collect();
        let roots: Vec<&str> = present.iter().map(String::as_str).collect();
        let doing = "collecting garbage in the store";
        let result = match dry_run {
            true => self.repository.gc_dry_run(&roots),
            false => self.repository.gc(&roots),
        }
        .map_err(StoreError::composefs(doing))?;
        Ok(Collected { objects: result.objects_removed, bytes: result.objects_bytes })
    }
}

/// Composefs digests of all images mounted now, in this mount namespace.
fn mounted_images() -> Result<Vec<ComposefsDigest>, StoreError> {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(StoreError::Read)?;
    Ok(sources(&text).collect())
}

/// The digests in `composefs:<digest>` mount sources (proc(5), mountinfo).
fn sources(mountinfo: &str) -> impl Iterator<Item = ComposefsDigest> {
    mountinfo
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .filter_map(|(_, rest)| rest.split(' ').nth(1))
        .filter_map(|source| source.strip_prefix("composefs:")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_mounted_images() {
        let hex = "ab".repeat(64);
        let text = format!(
            "22 1 0:21 / / ro,relatime - overlay composefs:{hex} ro,verity=require\n\
             23 22 0:5 / /dev rw - devtmpfs dev rw\n\
             24 22 0:9 / /x rw - overlay composefs:12 rw\n"
        );
        assert_eq!(sources(&text).collect::<Vec<_>>(), [hex.parse().unwrap()]);
    }
}

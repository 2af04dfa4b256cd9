//! A mounted file system.

use std::path::Path;

use rustix::fs::{StatVfsMountFlags, stat, statvfs};

use crate::{Outcome, check::Free};

pub(super) fn probe(path: &Path, free: Free) -> Outcome {
    let shown = path.display();
    let parent = path.parent().unwrap_or(path);
    let (here, above) = match (stat(path), stat(parent)) {
        (Ok(here), Ok(above)) => (here, above),
        (Err(error), _) | (_, Err(error)) => return Outcome::Failed(format!("{shown}: {error}")),
    };
    if here.st_dev == above.st_dev && path != parent {
        return Outcome::Failed(format!("nothing is mounted at {shown}"));
    }
    let found = match statvfs(path) {
        Ok(found) => found,
        Err(error) => return Outcome::Failed(format!("{shown}: {error}")),
    };
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Outcome::Failed(format!("{shown} cannot be written"));
    }
    let available = found.f_bavail.saturating_mul(found.f_frsize);
    let needed = match free {
        Free::Bytes(bytes) => bytes,
        Free::Share(share) => {
            (u128::from(found.f_blocks) * u128::from(found.f_frsize) * u128::from(share) / 100) as u64
        }
    };
    if available < needed {
        return Outcome::Failed(format!("{shown} has {available} bytes free, and {needed} are wanted"));
    }
    // Zero of zero: a file system that does not count them.
    match found.f_files > 0 && found.f_favail == 0 {
        true => Outcome::Failed(format!("{shown} has no inodes left")),
        false => Outcome::Passed,
    }
}

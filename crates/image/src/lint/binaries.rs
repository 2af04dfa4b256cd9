//! How programs and libraries were built.

use super::{Image, Verdict, items};
use crate::{
    binaries::{self, ALLOWED, named},
    rules,
};

pub(super) fn check(image: &Image<'_>) -> Verdict {
    let allowed = rules::binaries(&image.options.rules)?;
    let found = binaries::faulty(image.root, image.tree, &allowed)?;
    Ok(items(&format!("build anew, leave out, or name in {ALLOWED} with a reason"), found.into_iter().map(named)))
}

//! What gives rights away, or offers what a node has no place for.

use super::{Image, Verdict, items};
use crate::{
    permissions::{ALLOWED, refused},
    release::Release,
    rules,
};

pub(super) fn check(image: &Image<'_>) -> Verdict {
    let found = refused(image.tree, &image.options.rules)?;
    let found = found.into_iter().map(|(path, what)| format!("/{path} ({what})"));
    Ok(items(&format!("leave out, or name in {ALLOWED} with a reason"), found))
}

pub(super) fn minimal(image: &Image<'_>) -> Verdict {
    if Release::read(image.root)?.is_dev() {
        return Ok(None);
    }
    let found = rules::forbidden_in(&image.options.rules)?.find(image.root, image.tree, &|_| None)?;
    Ok(items("a node has no place for", found.into_iter().map(|found| found.to_string())))
}

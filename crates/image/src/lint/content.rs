//! What an image says of itself, and what must not be in it.

use rocketos_model::layout;

use super::{Image, Verdict, below, items};
use crate::{
    release::Release,
    survey::{EMPTIED, Kind, resolve},
};

/// Fields of os-release that an image fills in.
const FIELDS: [&str; 5] = ["ID", "NAME", "VERSION_ID", "VARIANT_ID", "IMAGE_VERSION"];
/// What a build needs and a node does not.
const BUILD_ONLY: [&str; 13] = [
    "etc/apt",
    "etc/dpkg",
    "etc/initramfs-tools",
    "usr/bin/apt",
    "usr/bin/apt-get",
    "usr/bin/dpkg",
    "usr/bin/perl",
    "usr/lib/apt",
    "usr/sbin/update-initramfs",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/rocketos/seal.d",
    "usr/share/initramfs-tools",
];
/// What container engines put into /run of whatever they mount.
const ENGINES: [&str; 2] = ["run/.containerenv", "run/secrets"];

pub(super) fn build_only(image: &Image<'_>) -> Verdict {
    Ok(items(
        "add a rule to prune or build-only.packages for",
        BUILD_ONLY.iter().filter(|path| image.tree.contains_key(**path)).map(|path| format!("/{path}")),
    ))
}

pub(super) fn dangling(image: &Image<'_>) -> Verdict {
    let led_astray = image.tree.iter().filter_map(|(path, entry)| {
        let Kind::Symlink(target) = &entry.kind else { return None };
        let end = resolve(image.tree, path, target)?;
        let top = end.split('/').next().unwrap_or_default();
        // What is made at run time cannot be seen here; /dev/null masks a unit.
        let seen = end.is_empty() || EMPTIED.contains(&top) || image.tree.contains_key(&end);
        (!seen).then(|| format!("/{path} -> {target}"))
    });
    Ok(items("links to nothing", led_astray))
}

pub(super) fn run_tmp(image: &Image<'_>) -> Verdict {
    let mut found = below(image.root, "run")?;
    found.extend(below(image.root, "tmp")?);
    found.retain(|path| !ENGINES.iter().any(|engine| path.starts_with(engine)));
    Ok(items("not empty", found.into_iter().map(|path| format!("/{path}"))))
}

pub(super) fn os_release(image: &Image<'_>) -> Verdict {
    let release = Release::read(image.root)?;
    Ok(items(
        "/usr/lib/os-release does not say",
        FIELDS.iter().filter(|field| release.field(field).is_none()).map(|field| (*field).to_owned()),
    ))
}

pub(super) fn utf8(image: &Image<'_>) -> Verdict {
    // The survey, which every check rests on, has read the other names.
    let hidden = below(image.root, "boot")?;
    Ok(items(
        "names that are not UTF-8 text",
        hidden.into_iter().filter(|path| path.contains(char::REPLACEMENT_CHARACTER)),
    ))
}

pub(super) fn var(image: &Image<'_>) -> Verdict {
    let found = below(image.root, "var")?;
    Ok(items(
        &format!("ship it in /usr, let tmpfiles.d copy it ({} is the node's)", layout::root::VAR),
        found.into_iter().map(|path| format!("/{path}")),
    ))
}

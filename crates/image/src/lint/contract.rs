//! What bootc expects of an image (`bootc container lint`, "Standard image content").

use super::{Image, TEXT_BYTES, Verdict, below, items};
use crate::{error::read_text, survey::Kind};

/// Mount points of every Linux system (systemd's API_FILE_SYSTEMS), and /var.
const API: [&str; 6] = ["dev", "proc", "sys", "run", "tmp", "var"];
const PREPARE_ROOT: &str = "usr/lib/ostree/prepare-root.conf";

pub(super) fn api_folders(image: &Image<'_>) -> Verdict {
    Ok(items(
        "missing, or no folder",
        API.iter()
            .filter(|name| image.tree.get(**name).is_none_or(|entry| entry.kind != Kind::Directory))
            .map(|name| format!("/{name}")),
    ))
}

pub(super) fn baseimage_root(image: &Image<'_>) -> Verdict {
    let kind = |path: &str| image.tree.get(path).map(|entry| &entry.kind);
    Ok(match (kind("sysroot"), kind("ostree")) {
        (Some(Kind::Directory), Some(Kind::Symlink(target))) if target == "sysroot/ostree" => None,
        (Some(Kind::Directory), _) => Some("/ostree must be a link to sysroot/ostree".to_owned()),
        _ => Some("/sysroot must be a folder".to_owned()),
    })
}

pub(super) fn baseimage_composefs(image: &Image<'_>) -> Verdict {
    let text = read_text(image.root, PREPARE_ROOT, TEXT_BYTES)?.unwrap_or_default();
    let mut section = "";
    let enabled = text.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            section = line;
        }
        let value = line.strip_prefix("enabled").map(|rest| rest.trim_start_matches([' ', '=']));
        section == "[composefs]" && matches!(value, Some("true" | "yes" | "1" | "signed" | "verity"))
    });
    Ok((!enabled).then(|| format!("/{PREPARE_ROOT} does not enable composefs")))
}

pub(super) fn kargs(image: &Image<'_>) -> Verdict {
    let found = below(image.root, "usr/lib/bootc/kargs.d")?;
    Ok(items(
        "put kernel arguments into a cmdline rule of sealing instead of",
        found.into_iter().map(|path| format!("/{path}")),
    ))
}

pub(super) fn injected(image: &Image<'_>) -> Verdict {
    Ok(items(
        "empty, so made by the builder",
        ["etc/hostname", "etc/resolv.conf"]
            .into_iter()
            .filter(|path| image.tree.get(*path).is_some_and(|entry| entry.kind == Kind::File && entry.size == 0))
            .map(|path| format!("/{path}")),
    ))
}

pub(super) fn usr_etc(image: &Image<'_>) -> Verdict {
    let both = image.tree.contains_key("etc") && image.tree.contains_key("usr/etc");
    Ok(both.then(|| "remove /usr/etc: configuration belongs to /etc".to_owned()))
}

pub(super) fn var_run(image: &Image<'_>) -> Verdict {
    let found = image.root.join("var/run").symlink_metadata();
    Ok(found.is_ok_and(|found| !found.is_symlink()).then(|| "/var/run is not a link".to_owned()))
}

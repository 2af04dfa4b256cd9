//! The kernel, the UKI and the loader.

use rocketos_boot::uki;
use rocketos_model::{cmdline, layout, limits};
use rocketos_store::digest_of_directory;

use super::{Image, Verdict, below, items, ukis};
use crate::{
    SealError,
    error::read_bounded,
    kernel::{self, expected},
    rules,
};

pub(super) fn one(image: &Image<'_>) -> Verdict {
    let release = match kernel::release(image.tree) {
        Ok(release) => release,
        Err(error @ (SealError::Missing { .. } | SealError::Kernels(_))) => return Ok(Some(error.to_string())),
        Err(error) => return Err(error),
    };
    let found = ukis(image.root)?;
    let [uki] = found.as_slice() else {
        return Ok(Some(format!("{} UKIs in /{}, instead of one", found.len(), layout::image::UKI)));
    };
    if image.tree.contains_key(&format!("{}/{release}/vmlinuz", kernel::MODULES)) {
        return Ok(Some("the kernel is in /usr/lib/modules, too: it belongs to the UKI alone".to_owned()));
    }
    let bytes = read(image, uki)?;
    Ok(match uki::text(&bytes, ".uname") {
        Ok(found) if found == release => None,
        Ok(found) => Some(format!("the UKI carries kernel {found}, the modules are of {release}")),
        Err(error) => Some(format!("/{uki}: {error}")),
    })
}

pub(super) fn boot(image: &Image<'_>) -> Verdict {
    let expected = |path: &str| {
        layout::image::UKI.starts_with(path)
            || path
                .strip_prefix(layout::image::UKI)
                .is_some_and(|name| name.ends_with(".efi") && name.matches('/').count() == 1)
    };
    let found = below(image.root, "boot")?;
    Ok(items("more than the UKI", found.into_iter().filter(|path| !expected(path)).map(|path| format!("/{path}"))))
}

pub(super) fn digest(image: &Image<'_>) -> Verdict {
    let found = ukis(image.root)?;
    let [uki] = found.as_slice() else {
        return Ok(Some(format!("{} UKIs, instead of one", found.len())));
    };
    let bytes = read(image, uki)?;
    let line = match uki::cmdline(&bytes) {
        Ok(line) => line,
        Err(error) => return Ok(Some(format!("/{uki}: {error}"))),
    };
    let allowed = match cmdline::digest(&line) {
        Ok(digest) => digest,
        Err(error) => return Ok(Some(format!("/{uki}: {error}"))),
    };
    let facts = digest_of_directory(image.root).map_err(SealError::Digest)?;
    Ok((facts.digest != allowed)
        .then(|| format!("the UKI allows {allowed}, the tree is {}; seal the image again", facts.digest)))
}

pub(super) fn config(image: &Image<'_>) -> Verdict {
    let rules = rules::config(&image.options.rules, &image.root.join(rules::DROP_INS))?;
    if rules.is_empty() {
        return Ok(None);
    }
    let release = kernel::release(image.tree)?;
    let config = kernel::config(image.root, &release)?;
    let unmet = kernel::unmet(&config, &rules);
    Ok(items("the kernel lacks", unmet.into_iter().map(|(rule, found)| format!("{} ({found})", expected(rule)))))
}

pub(super) fn loader(image: &Image<'_>) -> Verdict {
    let missing = !image.tree.contains_key(layout::image::LOADER);
    Ok(missing.then(|| format!("/{} is missing: install systemd-boot-efi", layout::image::LOADER)))
}

fn read(image: &Image<'_>, uki: &str) -> Result<Vec<u8>, SealError> {
    read_bounded(image.root, uki, limits::UKI_BYTES)?
        .ok_or_else(|| SealError::Missing { what: format!("/{uki}"), advice: "seal the image again" })
}

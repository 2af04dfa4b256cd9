//! `image save`: an image as it is, for nodes without a network.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use rocketos_image::HostContainers;
use rocketos_model::{ImageReference, labels, reference::DEFAULT_TAG};
use rocketos_oci::{NewLayout, Resolved};
use rocketos_trust::{SIGNATURE_LISTED_AS, signature_tag};
use tempfile::TempDir;

use crate::{args::Save, host_containers, pull::Puller};

/// What is written before it has its name.
const UNFINISHED: &str = ".rocketos-save-";
/// Permissions of what is written.
const MODE: u32 = 0o644;

/// Writes it, and says what.
pub fn run(args: &Save) -> anyhow::Result<()> {
    let to: ImageReference = args.to.parse()?;
    let reference: ImageReference = args.reference.parse()?;
    save(&Puller::new()?, &reference, &to, args.without_host_containers)
}

/// Copies an image and what belongs to it to a layout or an archive.
fn save(puller: &Puller, reference: &ImageReference, to: &ImageReference, alone: bool) -> anyhow::Result<()> {
    let (ImageReference::Layout { path, tag } | ImageReference::Archive { path, tag }) = to else {
        bail!("{to} is no file: say oci:<folder> or oci-archive:<file>");
    };
    ensure!(!path.exists(), "{} is there already", path.display());
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(above);
    let unfinished = unfinished.with_context(|| format!("making a folder in {}", above.display()))?;
    let layout = unfinished.path().join("layout");
    let name = tag.as_deref().or_else(|| tag_of(reference)).unwrap_or(DEFAULT_TAG);
    write(puller, reference, (&layout, name), alone)?;
    match to {
        ImageReference::Archive { .. } => pack(&layout, &unfinished, path)?,
        _ => fs::rename(&layout, path).with_context(|| format!("naming {}", path.display()))?,
    }
    println!("Wrote {to}.");
    Ok(())
}

fn tag_of(reference: &ImageReference) -> Option<&str> {
    match reference {
        ImageReference::Registry { tag, .. }
        | ImageReference::Layout { tag, .. }
        | ImageReference::Archive { tag, .. } => tag.as_deref(),
        ImageReference::Storage { .. } => None,
    }
}

fn write(
    puller: &Puller,
    reference: &ImageReference,
    (folder, name): (&Path, &str),
    alone: bool,
) -> anyhow::Result<()> {
    let resolved = puller.resolve(reference).with_context(|| format!("resolving {reference}"))?;
    let label = resolved.label(labels::HOST_CONTAINERS).filter(|_| !alone).unwrap_or_default();
    let containers = HostContainers::read(label.split_whitespace())
        .with_context(|| format!("reading the label {}", labels::HOST_CONTAINERS))?;
    let mut layout = NewLayout::create(folder)?;
    puller.wait(layout.add(&resolved, name)).with_context(|| format!("copying {reference}"))?;
    signatures(puller, &mut layout, &resolved)?;
    println!("{reference}: {}", resolved.manifest_digest);
    for (name, image) in containers.images() {
        let copying = || format!("copying host container {name}; --without-host-containers leaves them out");
        let found = host_containers::find(puller, &image, reference).with_context(copying)?;
        let (from, resolved) = found
            .with_context(|| format!("{image} is beside the image, and {reference} is in no registry"))
            .with_context(copying)?;
        puller.wait(layout.add_unnamed(&resolved)).with_context(copying)?;
        signatures(puller, &mut layout, &resolved).with_context(copying)?;
        println!("host container {name}: {from}");
    }
    Ok(layout.finish()?)
}

/// Copies signatures of an image, and of the indexes that led to it.
fn signatures(puller: &Puller, layout: &mut NewLayout, resolved: &Resolved) -> anyhow::Result<()> {
    let Some(mut beside) = resolved.beside() else { return Ok(()) };
    for bytes in std::iter::once(&resolved.manifest).chain(&resolved.indexes) {
        let subject = rocketos_trust::Subject::of(bytes).digest();
        let tag = [signature_tag(subject)];
        let copied = layout.add_beside(&mut beside, subject, &tag, &SIGNATURE_LISTED_AS);
        puller.wait(copied).with_context(|| format!("copying the signatures of {}", resolved.reference))?;
    }
    Ok(())
}

/// Makes an archive of a layout: the same files give the same bytes.
fn pack(layout: &Path, unfinished: &TempDir, path: &Path) -> anyhow::Result<()> {
    let doing = || format!("writing {}", path.display());
    let whole = unfinished.path().join("archive");
    let mut archive = tar::Builder::new(File::create_new(&whole).with_context(doing)?);
    for name in files(layout, Path::new("")).with_context(doing)? {
        let mut file = File::open(layout.join(&name)).with_context(doing)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(file.metadata().with_context(doing)?.len());
        header.set_mode(MODE);
        header.set_mtime(0);
        archive.append_data(&mut header, &name, &mut file).with_context(doing)?;
    }
    archive.into_inner().and_then(|file| file.sync_all()).with_context(doing)?;
    fs::rename(&whole, path).with_context(doing)
}

/// Names of files below a folder, in order.
fn files(layout: &Path, below: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(layout.join(below))? {
        let entry = entry?;
        let name = below.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => found.extend(files(layout, &name)?),
            false => found.push(name),
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;

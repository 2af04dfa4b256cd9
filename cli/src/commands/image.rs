//! `image`: what people who build images need.

mod inspect;
mod lint;
mod save;
mod seal;
mod sign;
mod verify;

use std::{fs, path::Path};

use anyhow::Context as _;
use rocketos_model::ImageReference;

use crate::{args::Image, pull::Puller};

/// Does it.
pub fn run(verb: &Image) -> anyhow::Result<()> {
    match verb {
        Image::Lint { root, rules, skip, fatal_warnings, list, json } => match list {
            true => lint::list(*json),
            false => lint::run(root, rules.clone(), skip, *fatal_warnings, *json),
        },
        Image::Seal {
            root,
            output,
            secure_boot_keys,
            secure_boot_key,
            secure_boot_certificate,
            host_container,
            quiet,
        } => {
            let signing = seal::signing(
                secure_boot_keys.as_deref(),
                secure_boot_key.as_deref().zip(secure_boot_certificate.as_deref()),
            )?;
            seal::run(root, output, signing.as_ref(), host_container, *quiet)
        }
        Image::Attach { reference, file, artifact_type } => attach(reference, file, artifact_type),
        Image::Save(args) => save::run(args),
        Image::Verify(args) => verify::run(args),
        Image::Sign(args) => sign::run(args),
        Image::Inspect { reference, json } => inspect::run(reference, *json),
    }
}

fn attach(reference: &str, file: &Path, artifact_type: &str) -> anyhow::Result<()> {
    let reference: ImageReference = reference.parse()?;
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let digest = Puller::new()?
        .attach(&reference, artifact_type, bytes)
        .with_context(|| format!("attaching {} to {reference}", file.display()))?;
    println!("Attached {} to {reference} as {digest}.", file.display());
    Ok(())
}

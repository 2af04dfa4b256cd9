//! Tags that lead to another image by now: it is brought, and runs from its container's next start.
//!
//! Nothing is started anew: somebody may be there. What has a digest is what it is, and what never came is asked for by its own unit.

use std::path::Path;

use anyhow::Context as _;
use rocketos_deploy::{HostContainer, Node};
use rocketos_model::{ImageReference, layout};

use super::{is_asked_for, kept, locate, names, read, remember, take};
use crate::{exit, output::Reporter, pull::Puller, trust::Guard};

/// Looks at all that settings place in `folder`. What does not answer, or is not allowed, is told, and what came before stays.
pub fn look_again(node: &Node, guard: &Guard, puller: &Puller, folder: &Path, reporter: &Reporter) {
    let names = match names(folder) {
        Ok(names) => names,
        Err(error) => return reporter.note(&format!("No host container was looked at: {}.", exit::chain(&error))),
    };
    // What is to be done at boot is the same whatever its tag says.
    for name in names.iter().filter(|name| !name.starts_with(layout::host_container::BOOTSTRAP)) {
        match look_at(node, guard, puller, (name, folder), reporter) {
            Ok(None) => {}
            Ok(Some(from)) => {
                reporter
                    .note(&format!("Host container {name} has a newer image, {from}: it runs it from its next start."));
            }
            Err(error) => {
                reporter.note(&format!("Host container {name} stays with its image: {}.", exit::chain(&error)));
            }
        }
    }
}

/// Looks at one, and says what was brought.
fn look_at(
    node: &Node,
    guard: &Guard,
    puller: &Puller,
    (name, folder): (&str, &Path),
    reporter: &Reporter,
) -> anyhow::Result<Option<ImageReference>> {
    let to_run = read(name, folder)?;
    let here = kept(node, name)?.filter(|_| to_run.source.digest().is_none());
    let Some((here, _)) = here else { return Ok(None) };
    if !is_asked_for(node, &here, &to_run)? {
        return Ok(None);
    }
    let (reference, resolved) = locate(node, puller, &to_run)?;
    if resolved.manifest_digest == here.manifest_digest {
        return Ok(None);
    }
    let image = take(node, guard, puller, (&reference, &resolved), reporter)?;
    let newer = HostContainer {
        image: reference.clone(),
        manifest_digest: image.manifest_digest,
        composefs_digest: image.facts.digest,
    };
    remember(node, name, &newer).with_context(|| format!("remembering the image of host container {name}"))?;
    Ok(Some(reference))
}

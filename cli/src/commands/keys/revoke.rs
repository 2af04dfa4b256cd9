//! `keys revoke`.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context as _, ensure};
use rocketos_boot::uki::authenticode;
use rocketos_model::layout;
use rocketos_trust::firmware::{Mode, Variable, revoked};

use super::sign::program;
use crate::{
    args::Revoke,
    keyring::{Keyring, now, write_new},
};

/// Makes an update of dbx that names programs by what their signatures are over.
pub fn run(args: &Revoke) -> anyhow::Result<()> {
    let keyring = Keyring::open(&args.keys)?;
    let mut digests = BTreeSet::new();
    for path in programs(&args.programs)? {
        let digest = authenticode::digest(&program(&path)?);
        let digest = digest.with_context(|| format!("hashing {}", path.display()))?;
        println!("{}  {}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), path.display());
        digests.insert(digest);
    }
    let value = revoked(&digests.into_iter().collect::<Vec<_>>());
    let update = keyring.pair(Variable::Kek)?.update(Variable::Dbx, Mode::Append, &value, now()?)?;
    write_new(&args.output, &update.bytes, 0o644)?;
    println!("'rocketctl keys apply {}' has a machine start these no more.", args.output.display());
    Ok(())
}

/// Files as they are; of a directory its kernels. A loader is shared by releases, so it is revoked only when it is named.
fn programs(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in named {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let folder = path.join(layout::image::UKI);
        let listing = fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
        let mut kernels: Vec<PathBuf> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
        kernels.retain(|file| file.extension().is_some_and(|ending| ending == "efi"));
        ensure!(!kernels.is_empty(), "{} has no kernel", folder.display());
        kernels.sort();
        found.extend(kernels);
    }
    Ok(found)
}

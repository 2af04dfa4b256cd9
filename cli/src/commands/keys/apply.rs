//! `keys apply`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use rocketos_boot::secure_boot::{self, SecureBoot};
use rocketos_trust::firmware::{Mode, Update, Variable};

use crate::{
    args::Apply,
    keyring::{Keyring, UPDATE, read},
};

/// Hands each to the firmware, which judges who signed it.
pub fn run(args: &Apply) -> anyhow::Result<()> {
    let mut updates = Vec::new();
    for path in files(&args.updates)? {
        let update = Update::read(&read(&path)?).with_context(|| format!("reading {}", path.display()))?;
        updates.push((path, update));
    }
    if !args.dry_run {
        match SecureBoot::of_machine()? {
            // In setup mode nobody's signature is asked for, and PK ends it.
            SecureBoot::Setup => updates
                .sort_by_key(|(_, update)| Variable::ALL.iter().position(|variable| *variable == update.variable)),
            SecureBoot::Enforcing | SecureBoot::Off => {}
            SecureBoot::Absent => bail!("this machine's firmware has no Secure Boot, so there is nobody to tell"),
        }
    }
    for (path, update) in &updates {
        let (name, file) = (update.variable.name(), path.display());
        let does = if update.mode == Mode::Append { "adds to" } else { "replaces" };
        if args.dry_run {
            println!("{file} {does} {name}.");
            continue;
        }
        secure_boot::apply(&update.variable.file(), update.mode.attributes(), &update.bytes).with_context(|| {
            format!(
                "handing {file} to the firmware: it takes what is signed by {}, and younger than what it has",
                match update.variable {
                    Variable::Pk | Variable::Kek => "its PK",
                    Variable::Db | Variable::Dbx => "a key of its KEK",
                }
            )
        })?;
        println!("{file} {does} {name}: done.");
    }
    Ok(())
}

/// Files as they are; of a directory its updates, in order of their names.
fn files(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in named {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let listing = fs::read_dir(path).with_context(|| format!("listing {}", path.display()))?;
        let mut updates: Vec<PathBuf> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
        updates.retain(|file| file.extension().is_some_and(|ending| ending == UPDATE));
        ensure!(!updates.is_empty(), "{} has no update (.{UPDATE})", path.display());
        updates.sort();
        found.extend(updates);
    }
    Ok(found)
}

/// What enrols the keys of a directory: names and bytes, checked.
pub fn enrolment(keyring: &Keyring) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    let mut found = Vec::new();
    for role in crate::keyring::ROLES {
        let path = keyring.update_file(role);
        let update = Update::read(&read(&path)?).with_context(|| format!("reading {}", path.display()))?;
        ensure!(update.variable == role, "{} is of {}", path.display(), update.variable.name());
        found.push((role.name(), update.bytes));
    }
    Ok(found)
}

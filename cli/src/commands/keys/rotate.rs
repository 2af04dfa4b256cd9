//! `keys rotate`.

use std::{fs, path::Path};

use anyhow::Context as _;
use rocketos_trust::firmware::{Mode, Update, Variable, certificates};

use super::init;
use crate::{
    args::RotateSecureBoot,
    keyring::{Keyring, now, write_new},
};

/// Updates after which both kinds of keys count: apply them first.
const BEGIN: &str = "begin";
/// Updates after which the new ones alone count: apply them once nothing that has to boot bears the old signature.
const END: &str = "end";

/// Makes new keys, and the updates that lead there.
pub fn run(args: &RotateSecureBoot) -> anyhow::Result<()> {
    let old = Keyring::open(&args.old)?;
    let new = Keyring::create(&args.new, &args.holders)?;
    // Each is younger than what it replaces, however soon one follows on the other.
    let begins = now()?.max(old.youngest_update()? + 1);
    let ends = begins + 1;
    let value = |role| anyhow::Ok(certificates(&[&new.certificate(role)?]));
    let begin = [
        old.pair(Variable::Kek)?.update(Variable::Db, Mode::Append, &value(Variable::Db)?, begins)?,
        old.pair(Variable::Pk)?.update(Variable::Kek, Mode::Append, &value(Variable::Kek)?, begins)?,
        old.pair(Variable::Pk)?.update(Variable::Pk, Mode::Replace, &value(Variable::Pk)?, begins)?,
    ];
    let end = [
        new.pair(Variable::Kek)?.update(Variable::Db, Mode::Replace, &value(Variable::Db)?, ends)?,
        new.pair(Variable::Pk)?.update(Variable::Kek, Mode::Replace, &value(Variable::Kek)?, ends)?,
    ];
    write(&args.new.join(BEGIN), &begin)?;
    write(&args.new.join(END), &end)?;
    init::describe(&new)?;
    let dir = args.new.display();
    println!("On each machine: 'rocketctl keys apply {dir}/{BEGIN}', then releases that the new db signed,");
    println!("then, when no older one has to boot any more, 'rocketctl keys apply {dir}/{END}'.");
    Ok(())
}

/// Writes updates so that the order of their names is theirs.
fn write(folder: &Path, updates: &[Update]) -> anyhow::Result<()> {
    fs::create_dir(folder).with_context(|| format!("making {}", folder.display()))?;
    for (number, update) in (1..).zip(updates) {
        write_new(&folder.join(format!("{number}-{}.auth", update.variable.name())), &update.bytes, 0o644)?;
    }
    Ok(())
}

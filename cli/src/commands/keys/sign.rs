//! `keys sign`, `keys verify` and `keys addon`.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use rocketos_image::{ProgramSigner, addon as make_addon, verify_signed};
use rocketos_model::{layout, limits};
use rocketos_trust::firmware::Variable;

use crate::{
    args::{MakeAddon, SignProgram, VerifyProgram},
    keyring::{Keyring, Pair, certificate, write_new},
};

/// Reads a program.
pub(super) fn program(path: &Path) -> anyhow::Result<Vec<u8>> {
    let size = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len();
    ensure!(size <= limits::UKI_BYTES, "{} has {size} bytes, more than {}", path.display(), limits::UKI_BYTES);
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Who signs programs.
pub(super) fn signer(pair: &Pair) -> ProgramSigner<'_> {
    ProgramSigner { signer: &*pair.signer, certificate: &pair.certificate }
}

/// Signs one; in its place by a rename, so that it is whole whatever happens.
pub fn sign(args: &SignProgram) -> anyhow::Result<()> {
    let pair = Keyring::open(&args.keys)?.pair(Variable::Db)?;
    let signed = signer(&pair).sign(&program(&args.program)?);
    let signed = signed.with_context(|| format!("signing {}", args.program.display()))?;
    let output = args.output.as_ref().unwrap_or(&args.program);
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writing = || format!("writing {}", output.display());
    let mut fresh = tempfile::NamedTempFile::new_in(folder).with_context(writing)?;
    std::io::Write::write_all(&mut fresh, &signed).with_context(writing)?;
    fs::set_permissions(fresh.path(), fs::metadata(&args.program)?.permissions()).with_context(writing)?;
    fresh.as_file().sync_all().with_context(writing)?;
    fresh.persist(output).with_context(writing)?;
    println!("{} is signed by {}.", output.display(), pair.certificate.name());
    Ok(())
}

/// Judges several.
pub fn verify(args: &VerifyProgram) -> anyhow::Result<()> {
    let certificate = certificate(&args.certificate)?;
    for path in &args.programs {
        verify_signed(&program(path)?, &certificate).with_context(|| format!("verifying {}", path.display()))?;
        println!("{} is signed by {}.", path.display(), certificate.name());
    }
    Ok(())
}

/// Makes a signed addon.
pub fn addon(args: &MakeAddon) -> anyhow::Result<()> {
    let pair = Keyring::open(&args.keys)?.pair(Variable::Db)?;
    let stub = args.stub.clone().unwrap_or_else(|| Path::new("/").join(layout::image::ADDON_STUB));
    let arguments = args.arguments.join(" ");
    let made = make_addon(&program(&stub)?, &arguments, Some(&signer(&pair)));
    let made = made.with_context(|| format!("making an addon of {}", stub.display()))?;
    write_new(&args.output, &made, 0o644)?;
    println!("{} adds '{arguments}'; on a node: 'rocketctl kargs add <FILE>'.", args.output.display());
    Ok(())
}

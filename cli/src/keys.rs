//! Keys as people name them: a file, `pkcs11:<URI>`, or `exec:<PROGRAM>,<PUBLIC KEY>`.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, ensure};
use rocketos_trust::{PrivateKey, PublicKey, Signer, limits};

use crate::adapters::{
    signer::Program,
    token::{self, Token},
};

/// How a program that signs is named.
const EXEC: &str = "exec:";

/// Whoever signs with the key.
pub fn signer(spec: &str) -> anyhow::Result<Box<dyn Signer>> {
    if spec.starts_with(token::SCHEME) {
        return Ok(Box::new(Token::open(spec)?));
    }
    if let Some(rest) = spec.strip_prefix(EXEC) {
        let (program, public) =
            rest.rsplit_once(',').with_context(|| format!("'{spec}' is not exec:<PROGRAM>,<PUBLIC KEY>"))?;
        return Ok(Box::new(Program::new(Path::new(program), public_file(Path::new(public))?)));
    }
    let path = Path::new(spec);
    Ok(Box::new(PrivateKey::from_pem(&name(path), &read(path)?)?))
}

/// True where the key is not in a file.
pub fn is_elsewhere(spec: &str) -> bool {
    spec.starts_with(token::SCHEME) || spec.starts_with(EXEC)
}

/// The public key. A file has that alone: private ones stay where they are used.
pub fn public(spec: &str) -> anyhow::Result<PublicKey> {
    if is_elsewhere(spec) {
        return Ok(signer(spec)?.public_key().clone());
    }
    public_file(Path::new(spec))
}

/// A public key's file.
pub fn public_file(path: &Path) -> anyhow::Result<PublicKey> {
    PublicKey::from_pem(&name(path), &read(path)?).with_context(|| format!("reading {}", path.display()))
}

/// What people call the key: the file's name without its ending.
fn name(path: &Path) -> String {
    path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let reading = || format!("reading the key {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limits::KEY_BYTES + 1).read_to_end(&mut bytes)).with_context(reading)?;
    ensure!(bytes.len() as u64 <= limits::KEY_BYTES, "{} has more than {} bytes", path.display(), limits::KEY_BYTES);
    Ok(bytes)
}

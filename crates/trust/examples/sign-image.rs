//! Signs an image's manifest with a key in a file, and writes what a registry has to hold, for checking it with cosign.
//!
//! `sign-image <manifest> <reference> <private key> <output>` writes `payload`, `config` and `manifest` (to be put under the
//! printed tag), and `bundle`. With `<output>/manifest` already there, the signature is added to it.

use std::{env, error::Error, fs, io::ErrorKind, path::Path};

use rocketos_trust::{PrivateKey, Subject, sign_bundle, sign_payload, signature_manifest, signature_tag};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [manifest, reference, key, output] = arguments.as_slice() else {
        return Err("usage: sign-image <manifest> <reference> <private key> <output>".into());
    };
    let output = Path::new(output);
    let manifest = fs::read(manifest)?;
    let subject = Subject::of(&manifest);
    let signer = PrivateKey::from_pem(key, &fs::read(key)?)?;
    let payload = sign_payload(&subject, &reference.parse()?, &signer)?;
    fs::create_dir_all(output)?;
    let existing = match fs::read(output.join("manifest")) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let made = signature_manifest(existing.as_deref(), &payload)?;
    fs::write(output.join("payload"), &payload.payload)?;
    fs::write(output.join("config"), &made.config)?;
    fs::write(output.join("manifest"), &made.manifest)?;
    fs::write(output.join("bundle"), sign_bundle(&subject, &signer)?)?;
    println!("{}", signature_tag(subject.digest()));
    Ok(())
}

//! `pkcs11-tool` (OpenSC), which signs with a key in a token: a card, a hardware security module, SoftHSM.
//!
//! A key is named by a URI (RFC 7512): `token` and `id` say which, `object` what people call it, the query's `module-path`
//! which library speaks to the token, `pin-source` which file has its PIN; without it the program asks. `id` has to be
//! there: the program passes over labels when it looks for a private key.

use std::{fs, process::Command};

use anyhow::{Context as _, bail, ensure};
use openssl::{pkey::PKey, sha::sha256};
use rocketos_trust::{Algorithm, PublicKey, SignError, Signer, limits};

use super::signer::ask;

/// How a URI begins.
pub const SCHEME: &str = "pkcs11:";
/// Bytes of a file with a PIN.
const PIN_BYTES: usize = 256;
/// The variable that hands it over: arguments are seen by every process.
const PIN: &str = "ROCKETCTL_PIN";

/// Which key of which token.
#[derive(Debug, Default, PartialEq, Eq)]
struct Uri {
    token: Option<String>,
    object: Option<String>,
    id: Vec<u8>,
    module: Option<String>,
    pin: Option<String>,
}

impl Uri {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let rest = text.strip_prefix(SCHEME).context("it does not begin with pkcs11:")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        for part in path.split(';').chain(query.split('&')).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').with_context(|| format!("'{part}' has no value"))?;
            let bytes = decode(value)?;
            let text = || String::from_utf8(bytes.clone()).with_context(|| format!("'{name}' is no text"));
            match name {
                "token" => uri.token = Some(text()?),
                "object" => uri.object = Some(text()?),
                "id" => uri.id = bytes,
                "module-path" => uri.module = Some(text()?),
                "pin-source" => uri.pin = Some(text()?.trim_start_matches("file:").to_owned()),
                "type" => {}
                "pin-value" => bail!("a PIN in the URI would be seen by every process; say pin-source=<file>"),
                other => bail!("'{other}' is not understood; known are token, object, id, module-path and pin-source"),
            }
        }
        ensure!(!uri.id.is_empty(), "it names no key: say id=…, in percent-encoding, such as id=%01");
        Ok(uri)
    }
}

/// Percent-decoding (RFC 3986, 2.1).
fn decode(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next()), digit(bytes.next()));
        let both = high.zip(low).with_context(|| format!("'{text}' is not percent-encoded as it should be"))?;
        out.push((both.0 * 16 + both.1) as u8);
    }
    Ok(out)
}

/// A key in a token.
#[derive(Debug)]
pub struct Token {
    uri: Uri,
    public: PublicKey,
}

impl Token {
    /// Finds the key, and reads its public half out of the token.
    pub fn open(text: &str) -> anyhow::Result<Self> {
        let uri = Uri::parse(text).with_context(|| format!("'{text}' is no PKCS#11 URI of a key"))?;
        let mut command = command(&uri)?;
        command.args(["--read-object", "--type", "pubkey"]);
        let found = ask(&mut command, &[], limits::KEY_BYTES).with_context(|| format!("reading the key {text}"))?;
        // DER, but PEM of an Ed25519 key.
        let pem = match found.starts_with(b"-----BEGIN") {
            true => found,
            false => PKey::public_key_from_der(&found)
                .and_then(|key| key.public_key_to_pem())
                .with_context(|| format!("reading the public key of {text}"))?,
        };
        let name = uri.object.clone().unwrap_or_else(|| text.to_owned());
        let public = PublicKey::from_pem(&name, &pem)?;
        ensure!(
            public.algorithm() != Algorithm::Ed25519,
            "{text} is an Ed25519 key, with which pkcs11-tool signs no more than 1 KiB; ECDSA P-256 and RSA are taken"
        );
        Ok(Self { uri, public })
    }

    fn run(&self, mechanism: &[&str], message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signed = || {
            let mut command = command(&self.uri)?;
            command.args(["--login", "--sign", "--mechanism"]).args(mechanism);
            if let Some(file) = &self.uri.pin {
                command.args(["--pin", &format!("env:{PIN}")]).env(PIN, pin(file)?);
            }
            ask(&mut command, message, limits::SIGNATURE_BYTES as u64)
        };
        let failed =
            |error: anyhow::Error| SignError::Signer { name: self.public.name().to_owned(), source: error.into() };
        signed().map_err(failed)
    }
}

fn pin(file: &str) -> anyhow::Result<String> {
    let pin = fs::read_to_string(file).with_context(|| format!("reading the PIN in {file}"))?;
    ensure!(pin.len() <= PIN_BYTES, "{file} has {} bytes; a PIN has at most {PIN_BYTES}", pin.len());
    Ok(pin.trim_end_matches('\n').to_owned())
}

fn command(uri: &Uri) -> anyhow::Result<Command> {
    let mut command = Command::new("pkcs11-tool");
    if let Some(module) = &uri.module {
        command.args(["--module", module]);
    }
    if let Some(token) = &uri.token {
        command.args(["--token-label", token]);
    }
    let id: String = uri.id.iter().map(|byte| format!("{byte:02x}")).collect();
    command.args(["--id", &id]);
    Ok(command)
}

impl Signer for Token {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self.public.algorithm() {
            // Tokens hash rarely; all sign a digest.
            Algorithm::EcdsaP256 => self.run(&["ECDSA", "--signature-format", "openssl"], &sha256(message)),
            Algorithm::Ed25519 | Algorithm::Rsa => self.run(&["SHA256-RSA-PKCS"], message),
        }
    }

    fn sign_metadata(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self.public.algorithm() {
            Algorithm::Rsa => self.run(&["SHA256-RSA-PKCS-PSS"], message),
            _ => self.sign(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_uris_and_refuses_the_rest() {
        let uri =
            Uri::parse("pkcs11:token=My%20token;object=a;id=%01%fE?module-path=/l.so&pin-source=file:/p").unwrap();
        let text = |text: &str| Some(text.to_owned());
        let expected = Uri {
            token: text("My token"),
            object: text("a"),
            id: vec![1, 254],
            module: text("/l.so"),
            pin: text("/p"),
        };
        assert_eq!(uri, expected);
        for (uri, what) in [
            ("pkcs11:token=a", "names no key"),
            ("pkcs11:object", "has no value"),
            ("pkcs11:object=%4", "percent-encoded"),
            ("pkcs11:id=%01?pin-value=1", "seen by every process"),
            ("pkcs11:id=%01;slot-id=1", "'slot-id' is not understood"),
            ("pkcs11:object=%ff", "no text"),
        ] {
            let error = Uri::parse(uri).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}

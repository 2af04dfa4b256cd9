//! A program that signs: it holds the key, in a token or a service, and this process never sees it.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use rocketos_trust::{PublicKey, SignError, Signer, limits};

/// The program and the key it signs with.
pub struct Program {
    path: PathBuf,
    public: PublicKey,
}

impl Program {
    /// What it returns is checked by the public key.
    pub fn new(path: &Path, public: PublicKey) -> Self {
        Self { path: path.to_owned(), public }
    }

    /// Its standard error is ours, so that it may ask people something. It may take its time.
    fn ask(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let name = self.path.display();
        let mut child = Command::new(&self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // What is signed fits into a pipe, so writing it all first waits for nobody. A program that does not read it
        // will return no signature of it.
        let written = stdin.expect("it is piped").write_all(message);
        let mut signature = Vec::new();
        let limit = limits::SIGNATURE_BYTES as u64;
        let read = stdout.expect("it is piped").take(limit + 1).read_to_end(&mut signature);
        let status = child.wait().with_context(|| format!("waiting for {name}"))?;
        ensure!(status.success(), "{name} failed with {status}");
        written.with_context(|| format!("giving {name} what to sign"))?;
        read.with_context(|| format!("reading the signature from {name}"))?;
        ensure!(signature.len() as u64 <= limit, "{name} wrote more than {limit} bytes, so no signature");
        Ok(signature)
    }
}

impl Signer for Program {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.ask(message)
            .map_err(|error| SignError::Signer { name: self.public.name().to_owned(), source: error.into() })
    }
}

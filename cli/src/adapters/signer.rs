//! Programs that sign: they hold the key, in a token or a service, and this process never sees it.

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, ensure};
use rocketos_trust::{Algorithm, PublicKey, SignError, Signer, limits};

/// What a program may ask: how it is to sign. In the words of TUF, and `rsa-pkcs1v15-sha256`.
const SCHEME: &str = "ROCKETCTL_SCHEME";

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

    fn run(&self, scheme: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        // A name alone is looked for here, as a path is, and not among the system's programs.
        let path = match self.path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new(".").join(&self.path),
            _ => self.path.clone(),
        };
        let mut command = Command::new(path);
        command.env(SCHEME, scheme);
        ask(&mut command, message, limits::SIGNATURE_BYTES as u64)
            .map_err(|error| SignError::Signer { name: self.public.name().to_owned(), source: error.into() })
    }
}

impl Signer for Program {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let scheme = match self.public.algorithm() {
            Algorithm::Rsa => "rsa-pkcs1v15-sha256",
            other => scheme(other),
        };
        self.run(scheme, message)
    }

    fn sign_metadata(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.run(scheme(self.public.algorithm()), message)
    }
}

fn scheme(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ed25519 => "ed25519",
        Algorithm::EcdsaP256 => "ecdsa-sha2-nistp256",
        Algorithm::Rsa => "rsassa-pss-sha256",
    }
}

/// Gives a program its input, and returns at most `limit` bytes of output. Its standard error is ours, so that it may ask
/// people something, and it may take its time.
pub(super) fn ask(command: &mut Command, input: &[u8], limit: u64) -> anyhow::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("starting {name}"))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut output = Vec::new();
    // Input and output at once: neither side waits for a full pipe.
    let (written, read) = thread::scope(|scope| {
        let writing = scope.spawn(|| stdin.expect("it is piped").write_all(input));
        let read = stdout.expect("it is piped").take(limit + 1).read_to_end(&mut output);
        (writing.join().expect("writing does not panic"), read)
    });
    let status = child.wait().with_context(|| format!("waiting for {name}"))?;
    ensure!(status.success(), "{name} failed with {status}");
    match written {
        // A program that does not read its input returns no signature of it, and that is checked.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other.with_context(|| format!("giving {name} its input"))?,
    }
    read.with_context(|| format!("reading what {name} returns"))?;
    ensure!(output.len() as u64 <= limit, "{name} wrote more than {limit} bytes");
    Ok(output)
}

//! `image seal`.

use std::{env, io::IsTerminal as _, path::Path, sync::Mutex};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use rocketos_image::{HostContainers, ProgramSigner, Progress, SealOptions, Step, seal};
use rocketos_trust::firmware::Variable;

use crate::{
    keyring::{self, Keyring, Pair},
    keys,
};

/// The newest a file of an image may be, in seconds since 1970 (reproducible-builds.org).
const NEWEST: &str = "SOURCE_DATE_EPOCH";
/// Host containers, as a Containerfile's argument has them: `control=sha256:… admin=sha256:…`.
const HOST_CONTAINERS: &str = "HOST_CONTAINERS";

/// Bars on a terminal.
struct Bars {
    shown: bool,
    bar: Mutex<Option<ProgressBar>>,
}

fn word(step: Step) -> &'static str {
    match step {
        Step::Survey => "Reading",
        Step::Copy => "Copying",
        Step::Digest => "Hashing",
        Step::Initramfs => "Compressing",
    }
}

impl Progress for Bars {
    fn begin(&self, step: Step, total: Option<u64>) {
        if !self.shown {
            return;
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(
                ProgressStyle::with_template("{prefix:12} {bar:40} {bytes}/{total_bytes}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            ),
            None => ProgressBar::new_spinner(),
        };
        bar.set_prefix(word(step));
        if let Ok(mut current) = self.bar.lock() {
            *current = Some(bar);
        }
    }

    fn advance(&self, by: u64) {
        if let Ok(current) = self.bar.lock()
            && let Some(bar) = current.as_ref()
        {
            bar.inc(by);
        }
    }

    fn end(&self) {
        if let Ok(mut current) = self.bar.lock()
            && let Some(bar) = current.take()
        {
            bar.finish_and_clear();
        }
    }
}

/// Who signs loader and kernel, if somebody does.
pub fn signing(keys: Option<&Path>, named: Option<(&str, &Path)>) -> anyhow::Result<Option<Pair>> {
    match (keys, named) {
        (Some(keys), _) => Keyring::open(keys)?.pair(Variable::Db).map(Some),
        (None, Some((key, certificate))) => {
            let pair = Pair { signer: keys::signer(key)?, certificate: keyring::certificate(certificate)? };
            pair.certificate.require(&*pair.signer)?;
            Ok(Some(pair))
        }
        (None, None) => Ok(None),
    }
}

/// Seals a root, and says in one line of JSON what it came to.
pub fn run(
    root: &Path,
    output: &Path,
    signing: Option<&Pair>,
    host_containers: &[String],
    quiet: bool,
) -> anyhow::Result<()> {
    let mut options = SealOptions::new(root, output);
    if let Ok(text) = env::var(NEWEST) {
        options.newest = Some(text.parse().with_context(|| format!("reading {NEWEST}={text}"))?);
    }
    let more = env::var(HOST_CONTAINERS).unwrap_or_default();
    let named = host_containers.iter().map(String::as_str).chain(more.split_whitespace());
    options.host_containers = HostContainers::read(named).context("reading which host containers there are to be")?;
    let bars = Bars { shown: !quiet && std::io::stderr().is_terminal(), bar: Mutex::new(None) };
    let signer = signing.map(|pair| ProgramSigner { signer: &*pair.signer, certificate: &pair.certificate });
    let facts = seal(&options, signer.as_ref(), &bars).with_context(|| format!("sealing {}", root.display()))?;
    println!("{}", serde_json::to_string(&facts)?);
    Ok(())
}

//! A directory of Secure Boot's keys: who holds PK, KEK and db, and their certificates.
//!
//! ```text
//! keys.toml                        who holds which key, in the words of `--key`; files are beside it
//! PK.key KEK.key db.key            those that are files
//! PK.crt KEK.crt db.crt            certificates, in PEM
//! PK.auth KEK.auth db.auth         what enrols them, in setup mode
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, bail, ensure};
use openssl::{pkey::PKey, rsa::Rsa};
use rocketos_trust::{
    Signer,
    firmware::{Certificate, Mode, Update, Validity, Variable, certificates},
    limits,
};
use serde::{Deserialize, Serialize};

use crate::{args::Holders, keys};

/// Who holds which key.
const HOLDERS: &str = "keys.toml";
/// How a file that holds an update ends.
pub const UPDATE: &str = "auth";
/// Bits of a new key: firmware knows these everywhere, and longer ones not.
const RSA_BITS: u32 = 2048;
/// Bytes of an update or a certificate.
const FILE_BYTES: u64 = limits::VARIABLE_UPDATE_BYTES;
const DAY: u64 = 24 * 60 * 60;

/// The three that are kept; dbx is signed by KEK and has no key.
pub const ROLES: [Variable; 3] = [Variable::Pk, Variable::Kek, Variable::Db];

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "PK")]
    pk: String,
    #[serde(rename = "KEK")]
    kek: String,
    db: String,
}

/// A key that signs, and its certificate.
pub struct Pair {
    /// Who signs.
    pub signer: Box<dyn Signer>,
    /// The certificate.
    pub certificate: Certificate,
}

impl Pair {
    /// Signs an update of a variable, now.
    pub fn update(&self, variable: Variable, mode: Mode, value: &[u8], now: u64) -> anyhow::Result<Update> {
        Update::sign(variable, mode, value, now, (&*self.signer, &self.certificate))
            .with_context(|| format!("signing an update of {}", variable.name()))
    }
}

/// The directory.
#[derive(Debug)]
pub struct Keyring {
    dir: PathBuf,
    holders: BTreeMap<&'static str, String>,
}

/// Seconds since 1970.
pub fn now() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("this machine's clock is before 1970")?.as_secs())
}

/// Reads a small file.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("reading {}", path.display()))?;
    ensure!(bytes.len() as u64 <= FILE_BYTES, "{} has more than {FILE_BYTES} bytes", path.display());
    Ok(bytes)
}

/// Reads a certificate.
pub fn certificate(path: &Path) -> anyhow::Result<Certificate> {
    Certificate::read(&read(path)?).with_context(|| format!("reading {}", path.display()))
}

/// Writes a file that must not be there, so that no key is ever lost to another.
pub fn write_new(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
    written.with_context(|| format!("writing {}", path.display()))
}

fn make_key(path: &Path) -> anyhow::Result<()> {
    let key = Rsa::generate(RSA_BITS).and_then(PKey::from_rsa).and_then(|key| key.private_key_to_pem_pkcs8());
    write_new(path, &key.context("making an RSA key")?, 0o600)
}

impl Keyring {
    /// Makes the directory, the keys that nobody named a holder for, certificates, and what enrols them.
    pub fn create(dir: &Path, asked: &Holders) -> anyhow::Result<Self> {
        let made = fs::DirBuilder::new().mode(0o700).create(dir);
        made.with_context(|| format!("making {}, which must not be there yet", dir.display()))?;
        let mut holders = BTreeMap::new();
        for (role, asked) in ROLES.into_iter().zip([&asked.pk, &asked.kek, &asked.db]) {
            let holder = match asked {
                Some(spec) => absolute(spec)?,
                None => {
                    let file = format!("{}.key", role.name());
                    make_key(&dir.join(&file))?;
                    file
                }
            };
            holders.insert(role.name(), holder);
        }
        let keyring = Self { dir: dir.to_owned(), holders };
        let from = now()?;
        let validity = Validity { from, until: from + u64::from(asked.days) * DAY };
        for role in ROLES {
            let signer = keyring.signer(role)?;
            let name = format!("{} {}", asked.name, role.name());
            let made = Certificate::self_signed(&name, &*signer, validity)
                .with_context(|| format!("making the certificate of {}", role.name()))?;
            write_new(&keyring.certificate_file(role), made.to_pem().as_bytes(), 0o644)?;
        }
        let of = |role: Variable| keyring.holders[role.name()].clone();
        let document = Document { pk: of(Variable::Pk), kek: of(Variable::Kek), db: of(Variable::Db) };
        write_new(&dir.join(HOLDERS), toml::to_string(&document)?.as_bytes(), 0o600)?;
        keyring.write_enrolment(from)?;
        Ok(keyring)
    }

    /// PK by itself, KEK by PK, db by KEK: as they would be signed on any machine that has them.
    fn write_enrolment(&self, now: u64) -> anyhow::Result<()> {
        for (variable, by) in
            [(Variable::Pk, Variable::Pk), (Variable::Kek, Variable::Pk), (Variable::Db, Variable::Kek)]
        {
            let value = certificates(&[&self.certificate(variable)?]);
            let update = self.pair(by)?.update(variable, Mode::Replace, &value, now)?;
            write_new(&self.update_file(variable), &update.bytes, 0o644)?;
        }
        Ok(())
    }

    /// Opens one that is there.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(HOLDERS);
        let bytes = read(&path).context("opening a directory of 'rocketctl keys init'")?;
        let text = String::from_utf8(bytes).with_context(|| format!("reading {}", path.display()))?;
        let Document { pk, kek, db } = toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let holders = ROLES.map(Variable::name).into_iter().zip([pk, kek, db]).collect();
        Ok(Self { dir: dir.to_owned(), holders })
    }

    fn certificate_file(&self, role: Variable) -> PathBuf {
        self.dir.join(format!("{}.crt", role.name()))
    }

    /// What enrols a key.
    pub fn update_file(&self, role: Variable) -> PathBuf {
        self.dir.join(format!("{}.auth", role.name()))
    }

    /// The moment of the youngest update in the directory, and in those below it.
    pub fn youngest_update(&self) -> anyhow::Result<u64> {
        let mut youngest = 0;
        let mut folders = vec![self.dir.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
                let path = entry.with_context(|| format!("listing {}", folder.display()))?.path();
                if path.is_dir() && folder == self.dir {
                    folders.push(path);
                } else if path.extension().is_some_and(|ending| ending == UPDATE) {
                    let update = Update::read(&read(&path)?).with_context(|| format!("reading {}", path.display()))?;
                    youngest = youngest.max(update.at);
                }
            }
        }
        Ok(youngest)
    }

    /// A key's certificate.
    pub fn certificate(&self, role: Variable) -> anyhow::Result<Certificate> {
        certificate(&self.certificate_file(role))
    }

    fn signer(&self, role: Variable) -> anyhow::Result<Box<dyn Signer>> {
        let Some(holder) = self.holders.get(role.name()) else { bail!("{} has no key", role.name()) };
        match is_file(holder) {
            true => keys::signer(&self.dir.join(holder).to_string_lossy()),
            false => keys::signer(holder),
        }
        .with_context(|| format!("finding the key {}", role.name()))
    }

    /// A key, and its certificate.
    pub fn pair(&self, role: Variable) -> anyhow::Result<Pair> {
        let (signer, certificate) = (self.signer(role)?, self.certificate(role)?);
        certificate.require(&*signer).with_context(|| format!("looking at {}", self.dir.display()))?;
        Ok(Pair { signer, certificate })
    }
}

/// True for a holder that is a file, by its path.
fn is_file(holder: &str) -> bool {
    !keys::is_elsewhere(holder)
}

/// A file's path that is right wherever the directory goes; other holders as they are.
fn absolute(spec: &str) -> anyhow::Result<String> {
    if !is_file(spec) {
        return Ok(spec.to_owned());
    }
    let path = fs::canonicalize(spec).with_context(|| format!("finding the key {spec}"))?;
    path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{} is no UTF-8", path.display()))
}

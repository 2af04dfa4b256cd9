//! Machines that only start: an ESP of files, firmware with Secure Boot, and a kernel whose initramfs says how far it came.
//!
//! There is no root partition: the sealed command line names no image, and that the initramfs says so, alone, is the proof that
//! firmware, loader and stub let it start and that its arguments are those that were sealed.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use openssl::rsa::Rsa;
use rocketos_boot::uki;
use rocketos_image::{ProgramSigner, addon, seal_arguments};
use rocketos_tests::command::Run;
use rocketos_tests::fixture::{Fixture, READY, VARIANT, VERSIONS};
use rocketos_tests::images::copy_out;
use rocketos_tests::qemu::OnReboot;
use rocketos_tests::{Disk, Ended, Machine, Progress, Running, Tools};
use rocketos_trust::PrivateKey;
use rocketos_trust::firmware::{Certificate, Mode, Update, Validity, Variable, certificates, revoked};

/// What a start may take in an emulated machine on a busy host.
pub const START: Duration = Duration::from_secs(240);
/// What was sealed; no digest, for there is no disk.
const SEALED: &str = "console=ttyS0,115200 loglevel=4 panic=10";
/// What may be added to it.
const ALLOWED: &str = "hugepages";
/// The initramfs, when all it was given is what was sealed.
pub const STARTED: &str = "the kernel command line has no composefs.digest=";
/// The initramfs, when something was added.
pub const FOREIGN: &str = "was added to the kernel command line";
/// The firmware and the loader, of a program.
pub const DENIED: &[&str] = &["Access Denied", "Access denied"];
/// How a start may end.
pub const ANY: &[&str] = &[STARTED, FOREIGN, "Access Denied", "Access denied"];
/// How the start of a kernel ends; the stub says of an addon that it leaves out that access to it is denied.
pub const KERNEL_RAN: &[&str] = &[STARTED, FOREIGN];
/// Where the kernels of the entries lie.
pub const KERNEL: &str = "EFI/rocketos/a/k.efi";
/// The loader, where firmware finds it.
pub const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
/// MiB of an ESP.
const ESP_MIB: u64 = 256;
/// The firmware's variables after the enrolment, once a process.
static ENROLLED: Mutex<Option<(tempfile::TempDir, Owner)>> = Mutex::new(None);

/// Somebody's keys: one is enough for all three roles here.
#[derive(Debug, Clone)]
pub struct Owner {
    pem: Vec<u8>,
    certificate: Certificate,
}

impl Owner {
    pub fn new(name: &str) -> Result<Self> {
        let pem = Rsa::generate(2048)?.private_key_to_pem()?;
        let key = PrivateKey::from_pem(name, &pem)?;
        let certificate = Certificate::self_signed(name, &key, Validity { from: 0, until: 1 << 31 })?;
        Ok(Self { pem, certificate })
    }

    fn key(&self) -> Result<PrivateKey> {
        Ok(PrivateKey::from_pem("key", &self.pem)?)
    }

    pub fn sign(&self, program: &[u8]) -> Result<Vec<u8>> {
        Ok(ProgramSigner { signer: &self.key()?, certificate: &self.certificate }.sign(program)?)
    }

    pub fn update(&self, variable: Variable, mode: Mode, value: &[u8]) -> Result<Vec<u8>> {
        let now = u64::try_from(chrono::Utc::now().timestamp())?;
        Ok(Update::sign(variable, mode, value, now, (&self.key()?, &self.certificate))?.bytes)
    }

    /// PK, KEK and db that hold the one certificate, and dbx where something is revoked.
    pub fn enrolment(&self, gone: &[[u8; 32]]) -> Result<Vec<(String, Vec<u8>)>> {
        let own = certificates(&[&self.certificate]);
        let mut all = vec![(Variable::Pk, own.clone()), (Variable::Kek, own.clone()), (Variable::Db, own)];
        if !gone.is_empty() {
            all.push((Variable::Dbx, revoked(gone)));
        }
        let update = |(variable, value): (Variable, Vec<u8>)| {
            Ok((format!("loader/keys/auto/{}.auth", variable.name()), self.update(variable, Mode::Replace, &value)?))
        };
        all.into_iter().map(update).collect()
    }
}

/// Files of an ESP.
#[derive(Debug, Clone, Default)]
pub struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    /// Puts a file there, in place of another of that name.
    pub fn put(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.0.retain(|(other, _)| other != path);
        self.0.push((path.to_owned(), content.into()));
        self
    }

    fn write(&self, image: &Path) -> Result<()> {
        let folder = tempfile::tempdir()?;
        for (path, content) in &self.0 {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().context("a file without a folder")?)?;
            std::fs::write(&file, content)?;
        }
        std::fs::File::create(image)?.set_len(ESP_MIB << 20)?;
        Run::new("mformat").arg("-i").arg(image).args(["-F", "-v", "ESP", "::"]).quiet()?;
        let tops: Vec<PathBuf> = std::fs::read_dir(folder.path())?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        Run::new("mcopy").args(["-s", "-Q", "-i"]).arg(image).args(tops).arg("::/").quiet()
    }
}

/// What tests of this file stand on.
pub struct Bench {
    tools: Tools,
    scratch: tempfile::TempDir,
    variables: PathBuf,
    /// Whose keys the machines have.
    pub owner: Owner,
    /// Somebody else.
    pub stranger: Owner,
    /// The image's loader, unsigned.
    pub loader: Vec<u8>,
    stub: Vec<u8>,
    addon_stub: Vec<u8>,
    image: Vec<u8>,
}

impl Bench {
    /// Takes programs out of the image that is built already, and enrols keys in a machine, once.
    pub fn ready(progress: &Progress) -> Result<Self> {
        // The image is built where the fixture is; of that nothing else is needed.
        if std::env::var_os(READY).is_none() {
            Fixture::ready(progress)?;
        }
        let scratch = tempfile::Builder::new().prefix("secure-boot-").tempdir()?;
        let image = format!("localhost/rocketos/{VARIANT}:{}", VERSIONS[0]);
        copy_out(&image, "/usr/lib/systemd/boot/efi", &scratch.path().join("efi"))?;
        copy_out(&image, "/boot/EFI/Linux", &scratch.path().join("kernels"))?;
        let read = |name: &str| std::fs::read(scratch.path().join("efi").join(name)).with_context(|| name.to_owned());
        let kernel = std::fs::read_dir(scratch.path().join("kernels"))?.next().context("no kernel")??;
        let mut bench = Self {
            tools: Tools::ensure(progress)?,
            variables: scratch.path().join("variables.qcow2"),
            owner: Owner::new("owner")?,
            stranger: Owner::new("stranger")?,
            loader: read("systemd-bootx64.efi")?,
            stub: read("linuxx64.efi.stub")?,
            addon_stub: read("addonx64.efi.stub")?,
            image: std::fs::read(kernel.path())?,
            scratch,
        };
        let mut enrolled = ENROLLED.lock().map_err(|_| anyhow::anyhow!("an enrolment failed before"))?;
        if enrolled.is_none() {
            let kept = tempfile::Builder::new().prefix("secure-boot-").tempdir()?;
            let file = kept.path().join("variables.qcow2");
            progress.step("enrolling keys in setup mode", || bench.enrol(&file, &[]))?;
            *enrolled = Some((kept, bench.owner.clone()));
        }
        let (kept, owner) = enrolled.as_ref().context("keys were enrolled")?;
        std::fs::copy(kept.path().join("variables.qcow2"), &bench.variables)?;
        bench.owner = owner.clone();
        Ok(bench)
    }

    /// A kernel of the image with our command line; unsigned.
    pub fn kernel(&self, mark: &str) -> Result<Vec<u8>> {
        let section = |name: &str| uki::read_section(&self.image, name)?.with_context(|| format!("no {name}"));
        let initramfs = seal_arguments(section(".initrd")?.to_vec(), SEALED, ALLOWED)?;
        let sections: [(&str, &[u8]); 5] = [
            (".osrel", mark.as_bytes()),
            (".cmdline", SEALED.as_bytes()),
            (".uname", section(".uname")?),
            (".linux", section(".linux")?),
            (".initrd", &initramfs),
        ];
        Ok(uki::assemble(&self.stub, &sections)?)
    }

    /// The kernel inside of the image's.
    pub fn inner_kernel(&self) -> Result<Vec<u8>> {
        Ok(uki::read_section(&self.image, ".linux")?.context("no kernel")?.to_vec())
    }

    /// An addon; signed by whom it says.
    pub fn addon(&self, arguments: &str, by: Option<&Owner>) -> Result<Vec<u8>> {
        let addon = addon(&self.addon_stub, arguments, None)?;
        by.map_or(Ok(addon.clone()), |owner| owner.sign(&addon))
    }

    /// An ESP that boots: signed loader, signed kernel, one entry.
    pub fn esp(&self) -> Result<Files> {
        Ok(Files::default()
            .put(LOADER, self.owner.sign(&self.loader)?)
            .put(KERNEL, self.owner.sign(&self.kernel("ID=one\n")?)?)
            .put("loader/loader.conf", "timeout 0\neditor no\n")
            .put("loader/entries/rocketos-000001-a.conf", entry("")))
    }

    fn machine(&self, files: &Files, variables: &Path) -> Result<Machine> {
        let disk = self.scratch.path().join("esp.raw");
        files.write(&disk)?;
        Ok(Machine::new(&self.tools, "secure-boot")
            .disk(Disk::raw(&disk))
            .without_network()
            .secure_boot()
            .variables(variables))
    }

    /// Has the loader enrol the owner's keys, as on the first boot after `install --secure-boot-keys`.
    pub fn enrol(&self, variables: &Path, gone: &[[u8; 32]]) -> Result<()> {
        let files = self.esp()?.put("loader/loader.conf", "timeout 0\nsecure-boot-enroll force\n");
        let files =
            self.owner.enrolment(gone)?.into_iter().fold(files, |files, (path, update)| files.put(&path, update));
        let mut machine = self.machine(&files, variables)?.on_reboot(OnReboot::End).start()?;
        let ended = machine.wait_for_end(START)?;
        ensure!(ended == Ended::Reset, "{ended:?}: {}", machine.console());
        ensure!(machine.console().contains("successfully enrolled"), "{}", machine.console());
        Ok(())
    }

    /// Another machine's variables, with other things revoked.
    pub fn enrolled_apart(&self, gone: &[[u8; 32]]) -> Result<PathBuf> {
        let file = self.scratch.path().join("apart.qcow2");
        if file.exists() {
            std::fs::remove_file(&file)?;
        }
        self.enrol(&file, gone)?;
        Ok(file)
    }

    /// Starts a machine that has the owner's keys, and waits for one of `words`; returns which, and all that it showed.
    pub fn start(&self, files: &Files, words: &[&str]) -> Result<(String, String)> {
        self.start_with(files, &self.variables, &[], |_| Ok(()), words)
    }

    /// The same with more arguments of QEMU's, on other variables, while somebody types.
    pub fn start_with(
        &self,
        files: &Files,
        variables: &Path,
        arguments: &[&str],
        meanwhile: impl FnOnce(&mut Running) -> Result<()>,
        words: &[&str],
    ) -> Result<(String, String)> {
        let machine = self.machine(files, variables)?.arguments(arguments.iter().copied());
        let mut machine = machine.on_reboot(OnReboot::End).start()?;
        meanwhile(&mut machine)?;
        let until = Instant::now() + START;
        loop {
            let console = machine.console();
            if let Some(word) = words.iter().find(|word| console.contains(**word)) {
                let word = (*word).to_owned();
                machine.cut_power()?;
                return Ok((word, console));
            }
            if Instant::now() > until {
                bail!("none of {words:?} within {} s:\n{console}", START.as_secs());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The variables of the machine with the owner's keys.
    pub fn variables(&self) -> &Path {
        &self.variables
    }
}

/// The entry of the kernel, with more lines.
pub fn entry(more: &str) -> String {
    format!("title one\nsort-key rocketos\nversion 1\nefi /{KERNEL}\n{more}")
}

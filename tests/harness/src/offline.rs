//! A disk while its machine is off: what firmware, loader and initramfs would find, and how to tamper with it.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rocketos_boot::{Entry, Esp, uki};
use rocketos_model::{ComposefsDigest, DeploymentId, Origin, cmdline, gpt, layout};
use rocketos_store::{Store, Verity};

use crate::Tools;
use crate::command::Run;

/// Bytes of a sector of QEMU's disks.
const SECTOR: u32 = 512;
/// Bytes of a block of the root file system.
const BLOCK: u64 = 4096;
/// Bytes copied at once.
const CHUNK: usize = 1 << 20;
/// How often fsck.vfat may find more.
const FSCK_PASSES: usize = 4;

/// Copies what is not a hole.
fn copy_data(from: &File, from_start: u64, to: &File, to_start: u64, length: u64) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(from, rustix::fs::SeekFrom::Data(from_start + at)) {
            Ok(data) => data - from_start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let hole = rustix::fs::seek(from, rustix::fs::SeekFrom::Hole(from_start + data))? - from_start;
        at = data;
        while at < hole.min(length) {
            let now = usize::try_from(hole.min(length) - at).map_or(CHUNK, |left| left.min(CHUNK));
            from.read_exact_at(&mut buffer[..now], from_start + at)?;
            to.write_all_at(&buffer[..now], to_start + at)?;
            at += now as u64;
        }
    }
    Ok(())
}

/// A disk's file, raw, and its root partition in a file of its own, where e2fsprogs can work on it.
#[derive(Debug)]
pub struct OfflineDisk {
    file: PathBuf,
    folder: PathBuf,
    esp: u64,
    esp_size: u64,
    root: u64,
    partition: PathBuf,
}

/// What the loader would boot first, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The entry.
    pub entry: Entry,
    /// What it boots.
    pub deployment: DeploymentId,
    /// What its kernel's command line names.
    pub image: ComposefsDigest,
}

impl OfflineDisk {
    /// Copies a qcow2 disk into `folder`, raw. The machine must be off.
    pub fn copy(tools: &Tools, qcow2: &Path, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let file = folder.join("disk.raw");
        tools.run("qemu-img").args(["convert", "-q", "-O", "raw"]).arg(qcow2).arg(&file).quiet()?;
        let mut disk = File::open(&file)?;
        let entries = rocketos_sys::gpt::read(&mut disk, SECTOR)?.context("the disk has no partition table")?;
        let of = |kind: &str| entries.iter().find(|entry| entry.type_guid.is(kind));
        let esp = of(gpt::ESP).context("the disk has no ESP")?;
        let root = of(gpt::ROOT).context("the disk has no root partition")?;
        let partition = folder.join("root.ext4");
        let copy = File::create(&partition)?;
        copy.set_len(root.size)?;
        copy_data(&disk, root.start, &copy, 0, root.size)?;
        let (esp, esp_size) = (esp.start, esp.size);
        Ok(Self { file, folder: folder.to_owned(), esp, esp_size, root: root.start, partition })
    }

    /// Where what was copied out lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts the disk back as a qcow2 file.
    pub fn write_back(&self, tools: &Tools, qcow2: &Path) -> Result<()> {
        let partition = File::open(&self.partition)?;
        let disk = File::options().read(true).write(true).open(&self.file)?;
        copy_data(&partition, 0, &disk, self.root, partition.metadata()?.len())?;
        tools.run("qemu-img").args(["convert", "-q", "-O", "qcow2"]).arg(&self.file).arg(qcow2).quiet()
    }

    /// Replays the journal, as mounting does.
    pub fn replay(&self) -> Result<()> {
        let (status, said, _) = Run::new("e2fsck").args(["-p", "-E", "journal_only"]).arg(&self.partition).outcome()?;
        // 1: the journal had something to replay.
        ensure!(matches!(status.code(), Some(0 | 1)), "replaying the journal: {said}");
        Ok(())
    }

    /// Has fsck mend both file systems as it does unasked, and look again: then nothing may be wrong. Says what it found.
    pub fn fsck(&self) -> Result<String> {
        let esp = self.folder.join("esp.vfat");
        let disk = File::options().read(true).write(true).open(&self.file)?;
        let part = File::options().read(true).write(true).create(true).truncate(true).open(&esp)?;
        part.set_len(self.esp_size)?;
        copy_data(&disk, self.esp, &part, 0, self.esp_size)?;
        let mend = |program: &str, option: &str, file: &Path| -> Result<bool> {
            let (status, said, _) = Run::new(program).arg(option).arg(file).outcome()?;
            // 1: it found something, and mended it.
            ensure!(matches!(status.code(), Some(0 | 1)), "{program} {option}: {said}");
            Ok(status.code() == Some(1))
        };
        let (on_esp, on_root) = (mend("fsck.vfat", "-a", &esp)?, mend("e2fsck", "-fp", &self.partition)?);
        // What it mends once may show it something else.
        for _ in 1..FSCK_PASSES {
            mend("fsck.vfat", "-a", &esp)?;
        }
        for (program, options, file) in [("fsck.vfat", "-n", &esp), ("e2fsck", "-fn", &self.partition)] {
            let (status, said, _) = Run::new(program).arg(options).arg(file).outcome()?;
            ensure!(status.success(), "{program} {options} still finds: {said}");
        }
        copy_data(&part, 0, &disk, self.esp, self.esp_size)?;
        for folder in ["esp", "root"].map(|name| self.folder.join(name)).iter().filter(|folder| folder.exists()) {
            std::fs::remove_dir_all(folder)?;
        }
        let word = |mended| if mended { "mended" } else { "clean" };
        Ok(format!("ESP {}, root {}", word(on_esp), word(on_root)))
    }

    /// Runs commands of debugfs(8) on the root file system.
    pub fn debugfs(&self, access: rocketos_sys::mount::Access, command: &str) -> Result<String> {
        let run = Run::new("debugfs");
        let run = if access == rocketos_sys::mount::Access::Writable { run.arg("-w") } else { run };
        run.args(["-R", command]).arg(&self.partition).output()
    }

    /// First byte of a file of the root file system, in its partition.
    pub fn first_byte_of(&self, path: &str) -> Result<u64> {
        let blocks = self.debugfs(rocketos_sys::mount::Access::ReadOnly, &format!("blocks {path}"))?;
        let block: u64 = blocks.split_whitespace().next().context("a file without blocks")?.parse()?;
        Ok(block * BLOCK)
    }

    /// Flips every bit of one byte of the root partition.
    pub fn flip(&self, at: u64) -> Result<()> {
        use std::os::unix::fs::FileExt as _;
        let disk = File::options().read(true).write(true).open(&self.partition)?;
        let mut byte = [0];
        disk.read_exact_at(&mut byte, at)?;
        disk.write_all_at(&[!byte[0]], at)?;
        Ok(())
    }

    /// Copies the ESP's files out; returns it as the crates see it.
    pub fn esp(&self) -> Result<Esp> {
        let folder = self.folder.join("esp");
        if !folder.exists() {
            std::fs::create_dir(&folder)?;
            let image = format!("{}@@{}", self.file.display(), self.esp);
            Run::new("mcopy").args(["-s", "-n", "-Q", "-i", &image, "::/"]).arg(&folder).quiet()?;
        }
        Ok(Esp::at(&folder))
    }

    /// Puts a file on the ESP, in place of one that may be there.
    pub fn put_on_esp(&self, file: &Path, path: &str) -> Result<()> {
        let image = format!("{}@@{}", self.file.display(), self.esp);
        let folders: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        for folder in folders.into_iter().map(|at| &path[..at]) {
            // One that is there stays.
            Run::new("mmd").args(["-D", "s", "-i", &image, &format!("::/{folder}")]).outcome()?;
        }
        Run::new("mcopy").args(["-o", "-i", &image]).arg(file).arg(format!("::/{path}")).quiet()
    }

    /// Copies the store and the deployments' state out; returns where to.
    pub fn root(&self) -> Result<PathBuf> {
        let folder = self.folder.join("root");
        if !folder.exists() {
            std::fs::create_dir(&folder)?;
            for path in [layout::root::STORE, "state"] {
                self.debugfs(rocketos_sys::mount::Access::ReadOnly, &format!("rdump /{path} {}", folder.display()))?;
            }
        }
        Ok(folder)
    }

    /// Judges what boots first: entry, kernel, image and every object of it must be whole.
    pub fn judge(&self) -> Result<Verdict> {
        self.replay()?;
        let esp = self.esp()?;
        let entries = esp.entries()?;
        let entry = entries.iter().find(|entry| entry.name.bootable()).context("no entry boots")?.clone();
        let deployment = entry.name.deployment;
        let root = self.root()?;
        let path = root.join(layout::deployment_dir(&deployment)).join(layout::deployment::ORIGIN);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let origin: Origin = toml::from_str(&text).with_context(|| format!("parsing {}", path.display()))?;
        let kernel = esp.read_uki(&deployment, &origin.uki)?;
        for section in [".linux", ".initrd"] {
            ensure!(uki::read_section(&kernel, section)?.is_some(), "the kernel has no {section}");
        }
        let image = cmdline::digest(&uki::cmdline(&kernel)?)?;
        ensure!(image == origin.composefs_digest, "kernel and origin name different images");
        let store = Store::open(&root.join(layout::root::STORE), Verity::Optional)?;
        let checked = store.check_image(&image)?;
        if !checked.bad.is_empty() {
            bail!("{} of {} objects are bad", checked.bad.len(), checked.objects);
        }
        Ok(Verdict { entry, deployment, image })
    }
}

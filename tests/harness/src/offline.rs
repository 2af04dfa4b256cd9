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

/// A disk's file, raw.
#[derive(Debug)]
pub struct OfflineDisk {
    file: PathBuf,
    folder: PathBuf,
    esp: u64,
    root: u64,
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
        let start = |kind: &str| entries.iter().find(|entry| entry.type_guid.is(kind)).map(|entry| entry.start);
        let esp = start(gpt::ESP).context("the disk has no ESP")?;
        let root = start(gpt::ROOT).context("the disk has no root partition")?;
        Ok(Self { file, folder: folder.to_owned(), esp, root })
    }

    /// Puts the disk back as a qcow2 file.
    pub fn write_back(&self, tools: &Tools, qcow2: &Path) -> Result<()> {
        tools.run("qemu-img").args(["convert", "-q", "-O", "qcow2"]).arg(&self.file).arg(qcow2).quiet()
    }

    fn root_device(&self) -> String {
        format!("{}?offset={}", self.file.display(), self.root)
    }

    /// Replays the journal, as mounting does.
    pub fn replay(&self) -> Result<()> {
        let (status, said, _) =
            Run::new("e2fsck").args(["-p", "-E", "journal_only"]).arg(self.root_device()).outcome()?;
        // 1: the journal had something to replay.
        ensure!(matches!(status.code(), Some(0 | 1)), "replaying the journal: {said}");
        Ok(())
    }

    /// Runs commands of debugfs(8) on the root file system.
    pub fn debugfs(&self, access: rocketos_sys::mount::Access, command: &str) -> Result<String> {
        let run = Run::new("debugfs");
        let run = if access == rocketos_sys::mount::Access::Writable { run.arg("-w") } else { run };
        run.args(["-R", command]).arg(self.root_device()).output()
    }

    /// First byte on the disk of a file of the root file system.
    pub fn first_byte_of(&self, path: &str) -> Result<u64> {
        let blocks = self.debugfs(rocketos_sys::mount::Access::ReadOnly, &format!("blocks {path}"))?;
        let block: u64 = blocks.split_whitespace().next().context("a file without blocks")?.parse()?;
        Ok(self.root + block * 4096)
    }

    /// Flips every bit of one byte of the disk.
    pub fn flip(&self, at: u64) -> Result<()> {
        use std::os::unix::fs::FileExt as _;
        let disk = File::options().read(true).write(true).open(&self.file)?;
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

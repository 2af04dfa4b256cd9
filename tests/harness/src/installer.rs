//! Makes a disk of an image, with neither root nor loop devices: the image boots itself in a small machine, from
//! memory, and installs itself there onto an empty disk.

mod cpio;
mod layout;
mod root;
mod uki;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::Run;
use crate::qemu::OnReboot;
use crate::{Disk, Ended, Format, Machine, Progress, Tools};

/// Memory of the installing machine, in MiB: the image unpacked, its packed form while unpacking, and room to work.
const MEMORY: u32 = 3072;
/// What an installation may take in an emulated machine.
const INSTALL_LIMIT: Duration = Duration::from_secs(1200);
/// What copying an image may take.
const COPY_LIMIT: Duration = Duration::from_secs(900);
/// The identity of a machine that boots from memory.
const MACHINE_ID: &[u8] = b"00000000000040008000000000000001\n";
const UNIT: &str = "rocketos-test-install.service";

/// What to install, and how.
#[derive(Debug, Clone)]
pub struct Install {
    /// Where the image is now, in skopeo's words: `docker://…`, `containers-storage:…`, `oci:…`.
    pub source: String,
    /// What the node will follow.
    pub target_imgref: String,
    /// The disk's size, in GiB.
    pub size: u32,
    /// How the disk's file is laid out.
    pub format: Format,
    /// Further arguments of `rocketctl install to-disk`.
    pub arguments: Vec<String>,
    /// Where every request to the disk is recorded, if anywhere ([`Disk::recorded`]).
    pub record: Option<PathBuf>,
}

impl Install {
    /// Installs `source` on an 8 GiB qcow2 disk that follows `target_imgref`.
    pub fn new(source: &str, target_imgref: &str) -> Self {
        Self {
            source: source.to_owned(),
            target_imgref: target_imgref.to_owned(),
            size: 8,
            format: Format::Qcow2,
            arguments: Vec::new(),
            record: None,
        }
    }
}

/// Makes `file` a disk that the image is installed on; the file appears only when the installation succeeded.
pub fn disk(tools: &Tools, progress: &Progress, install: &Install, file: &Path) -> Result<()> {
    let parent = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let work = tempfile::Builder::new().prefix("disk-").tempdir_in(parent).context("making a folder to work in")?;
    let layout = work.path().join("layout");
    progress.step("copying the image", || copy(tools, &install.source, &layout))?;
    let boot = progress.step("unpacking the image for memory", || unpack(install, &layout, work.path()))?;
    let disk = work.path().join("disk");
    tools
        .run("qemu-img")
        .args(["create", "-q", "-f", install.format.name()])
        .arg(&disk)
        .arg(format!("{}G", install.size))
        .quiet()
        .context("making an empty disk")?;
    progress.step("installing in a machine booted from the image", || run(tools, install, &boot, &disk))?;
    std::fs::rename(&disk, file).with_context(|| format!("renaming to {}", file.display()))
}

/// Writes an initramfs that holds what a tar archive holds, for trials with a plain Debian.
pub fn initramfs_of(archive: &Path, to: &Path) -> Result<()> {
    let mut root = root::Root::new()?;
    let file = std::fs::File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
    root.add_layer(std::io::BufReader::new(file))?;
    root.put_file(b"etc/machine-id", MACHINE_ID)?;
    root.write_cpio(to).with_context(|| format!("writing {}", to.display()))
}

/// What the installing machine starts from.
struct Boot {
    kernel: PathBuf,
    initrd: PathBuf,
    archive: PathBuf,
}

/// Copies an image into an OCI layout: podman's own images by podman's, all others by the extracted skopeo.
fn copy(tools: &Tools, source: &str, layout: &Path) -> Result<()> {
    let to = format!("oci:{}:image", layout.display());
    let local = source.starts_with("containers-storage:");
    let skopeo = if local { Run::new("podman") } else { tools.run("skopeo") };
    let copy = match source.strip_prefix("containers-storage:") {
        Some(name) => skopeo.args(["push", "--format=oci", name, &to]),
        None => skopeo.args(["--insecure-policy", "copy", "--src-tls-verify=false", source, &to]),
    };
    copy.limit(COPY_LIMIT).printed().quiet().with_context(|| format!("copying {source}"))
}

fn unpack(install: &Install, layout: &Path, work: &Path) -> Result<Boot> {
    let (kernel, initrd, archive) = (work.join("kernel"), work.join("initrd"), work.join("image.tar"));
    let mut root = root::Root::new()?;
    for layer in layout::layers(layout)? {
        let path = layer.path.display().to_string();
        root.add_layer(layer.open()?).with_context(|| format!("unpacking the layer {path}"))?;
    }
    let image = root.only_file(b"boot/EFI/Linux/", b".efi").context("looking for the image's UKI")?;
    std::fs::write(&kernel, uki::section(&image, b".linux").context("reading the image's UKI")?)?;
    root.remove(b"boot/EFI");
    // What a boot from memory lacks: an identity (without one it would be a first boot, with its questions).
    root.put_file(b"etc/machine-id", MACHINE_ID)?;
    // Sealed images take no unit from outside, so this one is put in.
    root.put_file(format!("etc/systemd/system/{UNIT}").as_bytes(), unit(install).as_bytes())?;
    // With this file systemd would take itself for an initramfs.
    root.remove(b"etc/initrd-release");
    root.write_cpio(&initrd).context("writing the initramfs")?;
    layout::archive(layout, &archive)?;
    Ok(Boot { kernel, initrd, archive })
}

fn run(tools: &Tools, install: &Install, boot: &Boot, disk: &Path) -> Result<()> {
    // ext4 is a module, and before it is loaded nobody can tell whether it has fs-verity.
    let cmdline = format!("rdinit=/usr/lib/systemd/systemd console=ttyS0 quiet modules_load=ext4 systemd.unit={UNIT}");
    let target = match install.format {
        Format::Raw => Disk::raw(disk),
        Format::Qcow2 => Disk::qcow2(disk),
    };
    let target = match &install.record {
        None => target,
        Some(log) => {
            std::fs::File::create(log).with_context(|| format!("making {}", log.display()))?;
            target.recorded(log)
        }
    };
    let mut machine = Machine::new(tools, "installer")
        .memory(MEMORY)
        .kernel(&boot.kernel, Some(&boot.initrd), &cmdline)
        .disk(target.serial("target"))
        .disk(Disk::raw(&boot.archive).serial("source").read_only())
        .without_network()
        .on_reboot(OnReboot::End)
        .time_limit(INSTALL_LIMIT)
        .start()?;
    let ended = machine.wait_for_end(INSTALL_LIMIT)?;
    let said = machine.second_port();
    match ended {
        Ended::PoweredOff => Ok(()),
        Ended::Reset => bail!("rocketctl install failed; it said:\n{}", crate::command::tail(&said)),
        Ended::Otherwise => bail!(
            "the installing machine ended early; its console:\n{}\nthe installer said:\n{said}",
            crate::command::tail(&machine.console())
        ),
    }
}

/// Success powers the machine off, failure resets it: the difference reaches us through QEMU.
fn unit(install: &Install) -> String {
    let source = "/dev/disk/by-id/virtio-source";
    let target = "/dev/disk/by-id/virtio-target";
    let devices = r"dev-disk-by\x2did-virtio\x2dsource.device dev-disk-by\x2did-virtio\x2dtarget.device";
    let arguments: String = install.arguments.iter().map(|argument| format!(" {argument}")).collect();
    format!(
        "[Unit]\nDescription=Installation onto an empty disk\n\
         Requires={devices}\nAfter={devices}\n\
         SuccessAction=poweroff-force\nFailureAction=reboot-force\n\
         [Service]\nType=oneshot\nTTYPath=/dev/ttyS1\nStandardOutput=tty\nStandardError=tty\n\
         ExecStart=/usr/bin/rocketctl install to-disk --source-imgref oci-archive:{source} \
         --target-imgref {}{arguments} {target}\n",
        install.target_imgref
    )
}

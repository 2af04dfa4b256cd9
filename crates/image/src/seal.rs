//! `image seal`: from an unsealed root to the trees `podman build` copies (docs/contracts.md).

use std::{
    collections::BTreeSet,
    fs, io,
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
};

use rocketos_boot::uki;
use rocketos_model::{
    ComposefsDigest,
    cmdline::{self, Allowed},
    layout, limits,
};
use rocketos_store::{TreeFacts, digest_of_directory};
use serde::{Deserialize, Serialize};

use crate::{
    HostContainers, ProgramSigner, Progress, SealError, Step, binaries, cdx,
    error::read_bounded,
    forbidden::Found,
    groups, initramfs,
    kernel::{self, MODULES},
    modules::Modules,
    output::{Copy, FOLDER_MTIME, merge, stamp},
    packages::Packages,
    permissions,
    plan::Plan,
    release::Release,
    rules::{GROUPS, Rules},
    selinux,
    survey::{Kind, Survey, survey},
};

/// Where the sealer keeps its rules.
pub(crate) const RULES: &str = "/usr/share/rocketos/seal";
/// The program that becomes /init of the initramfs.
const INIT: &str = "/usr/lib/rocketos/init";
/// systemd's stub, which starts the kernel inside the UKI.
#[cfg(target_arch = "x86_64")]
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// systemd's stub, which starts the kernel inside the UKI.
#[cfg(target_arch = "aarch64")]
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxaa64.efi.stub";
/// Bytes of a kernel, and of the stub.
const KERNEL_BYTES: u64 = 128 << 20;
/// What brings the loader.
const LOADER_ADVICE: &str = "install systemd-boot-efi";
/// The one variant that takes kernel arguments from whoever starts it.
const OPEN_VARIANT: &str = "dev";
/// The tree all groups make together, for as long as it is hashed.
const MERGED: &str = "merged";

/// What to seal, with what, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealOptions {
    /// The unsealed root; only read.
    pub root: PathBuf,
    /// An empty or absent folder.
    pub output: PathBuf,
    /// The folder of rules.
    pub rules: PathBuf,
    /// The initramfs program.
    pub init: PathBuf,
    /// The EFI stub.
    pub stub: PathBuf,
    /// Host containers that every node has.
    pub host_containers: HostContainers,
    /// No file of the image is newer than this, in seconds since 1970 (SOURCE_DATE_EPOCH).
    pub newest: Option<i64>,
}

impl SealOptions {
    /// Seals `root` into `output` with what the sealer image has.
    pub fn new(root: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            output: output.into(),
            rules: RULES.into(),
            init: INIT.into(),
            stub: STUB.into(),
            host_containers: HostContainers::default(),
            newest: None,
        }
    }
}

/// What `facts.json` says of a sealed image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SealFacts {
    /// Files that are objects of their own in the store.
    pub objects: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// What the UKI's command line carries.
    pub composefs_digest: ComposefsDigest,
    /// The kernel's release.
    pub kernel: String,
    /// IMAGE_VERSION, or else VERSION_ID.
    pub version: String,
    /// VARIANT_ID.
    pub variant: String,
}

/// Seals an image; its loader and UKI are signed where `signer` is given.
///
/// # Errors
/// When a rule is malformed, the root lacks something every image has or holds something none may, or reading or writing
/// fails. The output is then incomplete.
pub fn seal(
    options: &SealOptions,
    signer: Option<&ProgramSigner<'_>>,
    progress: &dyn Progress,
) -> Result<SealFacts, SealError> {
    let root = options.root.as_path();
    prepare(&options.output)?;
    let rules = Rules::read(&options.rules, root)?;
    let tree = survey(root, progress)?;
    let release = Release::read(root)?;
    let allowed = allowed(&rules, &release)?;
    let kernel_release = kernel::release(&tree)?;
    kernel::check_config(root, &kernel_release, &rules.config)?;
    let packages = Packages::read(root, &tree)?;
    let modules = Modules::read(root, &kernel_release)?;
    let mut plan = Plan::new(root, &tree, &packages, &rules, &modules)?;
    if !release.is_dev() {
        minimal(options, &plan, &packages, &rules)?;
    }
    binaries::check(root, &plan.kept, &packages, &rules.binaries)?;
    // What is placed is not the root's: it comes after the checks of what is.
    let mode = selinux::place(root, &options.rules, &release, &mut plan)?;
    options.host_containers.place(&mut plan);

    let newest = options.newest.unwrap_or_else(|| newest(&plan.kept));
    let sbom = cdx::document(root, &packages, &plan, &release, newest)?;
    write(&options.output.join("sbom.cdx.json"), &sbom)?;

    let outputs: Vec<PathBuf> = (0..GROUPS).map(|group| options.output.join(format!("groups/{group:02}"))).collect();
    let assigned = groups::assign(&plan.kept, &packages, &rules);
    let copy = Copy { root, plan: &plan, newest: options.newest };
    let carried = initramfs::carried(&modules, &rules.initramfs)?;
    let (tree_facts, archive) = thread::scope(|scope| {
        // Compressing takes longest and runs on one core: it begins before its turn.
        let packing = scope.spawn(|| initramfs::pack(root, &options.init, &modules, &carried));
        copy.groups(&assigned, &outputs, progress)?;
        if let Some(signer) = signer {
            sign_loader(&outputs, signer)?;
        }
        let tree_facts = digest(&outputs, &plan.kept, &options.output.join(MERGED), progress)?;
        progress.begin(Step::Initramfs, None);
        let archive = packing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        progress.end();
        Ok((tree_facts, archive))
    })?;

    let arguments: Vec<String> = std::iter::once(cmdline::argument(&tree_facts.digest))
        .chain(rules.cmdline.iter().map(|line| line.text.clone()))
        .chain(mode.and_then(selinux::Mode::argument).map(str::to_owned))
        .collect();
    let arguments = arguments.join(" ");
    let archive = match allowed {
        Some(allowed) => seal_arguments(archive, &arguments, &allowed)?,
        None => archive,
    };
    write_uki(options, &kernel_release, &release, (&arguments, &archive), signer)?;

    let facts = SealFacts {
        objects: tree_facts.objects,
        bytes: tree_facts.bytes,
        composefs_digest: tree_facts.digest,
        kernel: kernel_release,
        version: release.version().to_owned(),
        variant: release.field("VARIANT_ID").unwrap_or_default().to_owned(),
    };
    let mut json = serde_json::to_vec_pretty(&facts).map_err(|error| SealError::write("facts.json")(error.into()))?;
    json.push(b'\n');
    write(&options.output.join("facts.json"), &json)?;
    Ok(facts)
}

/// Refuses what has no place on a node.
fn minimal(options: &SealOptions, plan: &Plan, packages: &Packages, rules: &Rules) -> Result<(), SealError> {
    let owner = |path: &str| (!packages.owners(path).is_empty()).then(|| packages.owner_name(path));
    let mut found = rules.forbidden.find(&options.root, &plan.kept, &owner)?;
    found.extend(permissions::refused(&plan.kept, &options.rules)?.into_iter().map(|(path, what)| Found {
        package: owner(&path),
        path,
        what: what.to_owned(),
    }));
    if found.is_empty() { Ok(()) } else { Err(SealError::NotMinimal(found)) }
}

/// Sees to it that the output folder is there and empty.
fn prepare(output: &Path) -> Result<(), SealError> {
    fs::create_dir_all(output).map_err(SealError::write(output))?;
    match fs::read_dir(output).map_err(SealError::read(output))?.next() {
        None => Ok(()),
        Some(_) => Err(SealError::OutputInUse { path: output.to_owned() }),
    }
}

fn newest(kept: &Survey) -> i64 {
    kept.values().filter(|entry| entry.kind == Kind::File).map(|entry| entry.mtime).max().unwrap_or_default()
}

fn write(path: &Path, content: &[u8]) -> Result<(), SealError> {
    fs::write(path, content).map_err(SealError::write(path))
}

/// What may be added to the sealed arguments; absent in `dev`, which alone may take any.
fn allowed(rules: &Rules, release: &Release) -> Result<Option<String>, SealError> {
    if let Some(line) = rules.allowed.iter().find(|line| line.text == Allowed::ALL) {
        return match release.field("VARIANT_ID") {
            Some(OPEN_VARIANT) => Ok(None),
            _ => Err(line.error(format!("'{}' is for VARIANT_ID={OPEN_VARIANT} alone", line.text))),
        };
    }
    let names: Vec<&str> = rules.allowed.iter().map(|line| line.text.as_str()).collect();
    Ok(Some(names.join("\n")))
}

/// Puts what was sealed behind an initramfs, so that it refuses arguments that come from elsewhere; `allowed` has a name a
/// line.
///
/// # Errors
/// When either is longer than an archive holds.
pub fn seal_arguments(mut archive: Vec<u8>, arguments: &str, allowed: &str) -> Result<Vec<u8>, SealError> {
    // An archive begins at a multiple of four (Linux, "initramfs buffer format"); the kernel passes over zeros.
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(initramfs::sealed(arguments, allowed)?);
    Ok(archive)
}

/// Signs the loader where it was copied to; mode and time stay.
fn sign_loader(groups: &[PathBuf], signer: &ProgramSigner<'_>) -> Result<(), SealError> {
    use std::os::unix::fs::MetadataExt as _;
    let path = layout::image::LOADER;
    let copied = groups.iter().map(|group| group.join(path)).find(|file| file.exists());
    let file = copied.ok_or_else(|| SealError::Missing { what: format!("/{path}"), advice: LOADER_ADVICE })?;
    let found = fs::metadata(&file).map_err(SealError::read(&file))?;
    if found.len() > limits::LOADER_BYTES {
        return Err(SealError::TooLarge { path: path.to_owned(), found: found.len(), limit: limits::LOADER_BYTES });
    }
    let loader = fs::read(&file).map_err(SealError::read(&file))?;
    let signed = signer.sign(&loader).map_err(|source| SealError::Sign { path: path.to_owned(), source })?;
    write(&file, &signed)?;
    stamp(&file, found.mtime())
}

/// Hashes what the groups make together.
fn digest(groups: &[PathBuf], kept: &Survey, merged: &Path, progress: &dyn Progress) -> Result<TreeFacts, SealError> {
    progress.begin(Step::Digest, None);
    merge(groups, kept, merged)?;
    let facts = digest_of_directory(merged).map_err(SealError::Digest)?;
    fs::remove_dir_all(merged).map_err(SealError::write(merged))?;
    progress.end();
    Ok(facts)
}

fn write_uki(
    options: &SealOptions,
    kernel_release: &str,
    release: &Release,
    (arguments, initramfs): (&str, &[u8]),
    signer: Option<&ProgramSigner<'_>>,
) -> Result<(), SealError> {
    if arguments.len() >= limits::CMDLINE_BYTES {
        return Err(SealError::TooLarge {
            path: "the kernel command line".to_owned(),
            found: arguments.len() as u64,
            limit: limits::CMDLINE_BYTES as u64 - 1,
        });
    }
    let path = format!("{MODULES}/{kernel_release}/vmlinuz");
    let kernel = read_bounded(&options.root, &path, KERNEL_BYTES)?
        .ok_or_else(|| SealError::Missing { what: format!("/{path}"), advice: "move the kernel there from /boot" })?;
    let stub_size = fs::metadata(&options.stub).map_err(SealError::read(&options.stub))?.len();
    if stub_size > KERNEL_BYTES {
        return Err(SealError::TooLarge {
            path: options.stub.display().to_string(),
            found: stub_size,
            limit: KERNEL_BYTES,
        });
    }
    let stub = fs::read(&options.stub).map_err(SealError::read(&options.stub))?;
    let sections: [(&str, &[u8]); 5] = [
        (".osrel", release.text.as_bytes()),
        (".cmdline", arguments.as_bytes()),
        (".uname", kernel_release.as_bytes()),
        (".linux", &kernel),
        (".initrd", initramfs),
    ];
    let image =
        uki::assemble(&stub, &sections).map_err(|source| SealError::Uki { stub: options.stub.clone(), source })?;
    let image = match signer {
        Some(signer) => {
            let signed = signer.sign(&image);
            signed.map_err(|source| SealError::Sign { path: layout::image::UKI.to_owned(), source })?
        }
        None => image,
    };
    let top = options.output.join("uki");
    let folder = top.join(layout::image::UKI);
    fs::create_dir_all(&folder).map_err(SealError::write(&folder))?;
    let file = folder.join(format!("{kernel_release}.efi"));
    write(&file, &image)?;
    let kernel_mtime = fs::metadata(options.root.join(&path))
        .and_then(|found| found.modified())
        .map_err(SealError::read(options.root.join(&path)))?;
    let kernel_mtime = kernel_mtime
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| SealError::malformed(&path, "it was last changed before 1970"))?
        .as_secs();
    let mtime = i64::try_from(kernel_mtime).unwrap_or(FOLDER_MTIME);
    finish_uki(&top, &file, options.newest.map_or(mtime, |newest| mtime.min(newest)))
}

/// Gives the UKI and its folders fixed metadata.
fn finish_uki(top: &Path, file: &Path, mtime: i64) -> Result<(), SealError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path, mode| -> io::Result<()> { fs::set_permissions(path, fs::Permissions::from_mode(mode)) };
    mode(file, 0o644).map_err(SealError::write(file))?;
    stamp(file, mtime)?;
    let mut folder = file;
    let mut seen = BTreeSet::new();
    while let Some(above) = folder.parent().filter(|above| above.starts_with(top) && seen.insert(above.to_owned())) {
        mode(above, 0o755).map_err(SealError::write(above))?;
        stamp(above, FOLDER_MTIME)?;
        folder = above;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

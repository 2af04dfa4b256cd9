//! Images of host containers, brought as a node brings them: what is in them, and that it starts with nothing beside it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rocketos_store::{ContainerImage, Store, Verity};
use rocketos_tests::Images;
use rocketos_tests::command::Run;
use rocketos_tests::images::copy_out;

use crate::listing::Listing;
use crate::published::{Published, VERSION, runtime};

/// Bits of a mode that say what a file is, and those of a link (inode(7)).
const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
/// What `control api` says where nobody listens.
const NOBODY: i32 = 69;

/// An image of this checkout.
struct Brought {
    name: String,
    image: ContainerImage,
    files: Listing,
}

impl Brought {
    fn new(published: &Published, name: &str) -> Result<Self> {
        let built = Images::new(&published.progress).container(name, VERSION)?;
        let reference = published.push(&built, &format!("rocketos/{name}"))?;
        let folder = tempfile::tempdir_in(published.scratch.path())?;
        let store = Store::init(&folder.path().join("composefs"), Verity::Optional)?;
        let reader = published.reader()?;
        let resolved = runtime()?.block_on(async {
            let resolved = reader.resolve(&reference).await?;
            reader.fetch(&resolved, &store, &()).await?;
            anyhow::Ok(resolved)
        })?;
        let image = store.commit_container(&resolved.manifest, &resolved.config)?;
        let files = Listing::parse(&store.list_files(&image.facts.digest)?)?;
        Ok(Self { name: built, image, files })
    }

    /// The program that it starts with.
    fn starts(&self) -> Option<String> {
        self.image.config.config().as_ref()?.entrypoint().as_ref()?.first().cloned()
    }

    /// A program of it on this host.
    fn program(&self, published: &Published, path: &str) -> Result<PathBuf> {
        let file = published.scratch.path().join(path.trim_start_matches('/').replace('/', "-"));
        copy_out(&self.name, path, &file)?;
        Ok(file)
    }
}

#[test]
fn control_is_a_program_without_anything_beside_it() -> Result<()> {
    let published = Published::new()?;
    let control = Brought::new(&published, "control")?;
    ensure!(control.starts().as_deref() == Some("/control"), "it starts with {:?}", control.starts());
    for none in ["/usr", "/etc", "/lib64"] {
        ensure!(!control.files.has(none), "it has {none}");
    }
    let program = control.program(&published, "/control")?;
    let (status, _, said) = Run::new(program).args(["api", "GET", "/v1/status"]).outcome()?;
    ensure!(status.code() == Some(NOBODY) && said.contains("connecting to the API"), "{status}: {said}");
    Ok(())
}

#[test]
fn admin_has_sshd_without_keys_and_a_shell_without_libraries() -> Result<()> {
    let published = Published::new()?;
    let admin = Brought::new(&published, "admin")?;
    ensure!(admin.starts().as_deref() == Some("/usr/bin/admin"), "it starts with {:?}", admin.starts());
    for program in ["sbin/sshd", "bin/ssh-keygen", "bin/host-shell", "bin/control", "bin/strace", "bin/jq"] {
        ensure!(admin.files.has(&format!("/usr/{program}")), "it has no {program}");
    }
    for key in ["rsa", "ecdsa", "ed25519"] {
        ensure!(!admin.files.has(&format!("/etc/ssh/ssh_host_{key}_key")), "everybody's {key} key is the same");
    }
    // The users are written where they can be.
    ensure!(admin.files.find("/etc/passwd")?.mode & KIND == LINK && admin.files.has("/usr/lib/passwd"));
    let shell = admin.program(&published, "/usr/bin/busybox")?;
    let nothing = published.scratch.path().join("nothing");
    std::fs::create_dir(&nothing).context("making an empty root")?;
    std::fs::rename(&shell, nothing.join("busybox")).context("moving the shell there")?;
    let (status, _, said) = Run::new("unshare")
        .args(["--map-root-user", "--root"])
        .arg(&nothing)
        .args(["/busybox", "sh", "-c", "exit 7"])
        .outcome()?;
    ensure!(status.code() == Some(7), "{status}: {said}");
    Ok(())
}

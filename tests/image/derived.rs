//! A third party makes an image of its own, with no checkout: one Containerfile, published images, plain podman.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rocketos_tests::command::Run;
use rocketos_tests::fixture::BOOT;
use rocketos_tests::images::podman_build;
use rocketos_tests::installer::{self, Install};
use rocketos_tests::{Disk, Images, Machine, paths};

use crate::content::{Whose, lint};
use crate::published::{Published, VERSION, data, names_in};

/// Lines that a Containerfile of somebody else may need.
const LINES: usize = 25;
/// What installing a package and sealing may take.
const BUILD_LIMIT: std::time::Duration = std::time::Duration::from_secs(1200);
/// The package's program, the package's name and the file, as in `tests/data/derived`.
const PROGRAM: &str = "/usr/sbin/ethtool";
const PROGRAM_SAYS: &str = "ethtool version";
/// What systemd says of its units, once /etc has no trace of an earlier boot and once it has.
const FIRST: &str = "The lab's node boots for the first time";
const AGAIN: &str = "The lab's node boots again";
/// ext4 writes what nobody waits for every five seconds.
const WRITTEN: std::time::Duration = std::time::Duration::from_secs(20);
const PACKAGE: &str = "ethtool";
const FILE: &str = "/usr/share/containers/systemd/hello.container";

#[test]
fn a_third_party_derives_a_variant_from_published_images_on_one_page() -> Result<()> {
    let published = Published::new()?;
    let release = published.variant("standalone")?;
    let page = std::fs::read_to_string(data("derived").join("Containerfile"))?;
    ensure!(page.lines().count() <= LINES, "the page has {} lines", page.lines().count());

    let (registry, images) = (&published.registry, Images::new(&published.progress));
    let rootfs = format!("localhost/rocketos/standalone-rootfs:{VERSION}");
    images.push(&rootfs, registry, "rocketos/standalone-rootfs", "latest")?;
    images.push("localhost/rocketos/sealer", registry, "rocketos/sealer", "latest")?;

    let elsewhere = tempfile::tempdir()?;
    ensure!(!elsewhere.path().starts_with(paths::workspace()), "{} is the checkout", elsewhere.path().display());
    Run::new("cp").arg("-r").arg(data("derived").join(".")).arg(elsewhere.path()).quiet()?;
    ensure!(names_in(elsewhere.path())? == ["Containerfile", "tree"], "more than a page and its files");
    let theirs = Theirs { namespace: format!("{}/rocketos", registry.on_host()) };
    published.progress.step("building somebody else's image", || theirs.build(elsewhere.path()))?;

    lint(&published, &theirs.image(), Whose::Theirs)?;
    let pulled = published.pull(&published.push(&theirs.image(), "lab/node")?)?;
    ensure!(pulled.files.find(PROGRAM)?.mode & 0o111 != 0, "{PROGRAM} cannot be run");
    ensure!(!pulled.files.find(FILE)?.is_folder(), "{FILE} is a folder");
    ensure!(pulled.image.facts.objects > 0 && pulled.resolved.label("containers.bootc") == Some("1"));
    let (_, standalone) = published.standalone()?;
    ensure!(!standalone.files.has(PROGRAM) && !standalone.files.has(FILE), "standalone has {PACKAGE} by itself");
    ensure!(release.facts["composefs-digest"] != pulled.image.facts.digest.to_string(), "nothing was added");
    boots(&published, &theirs.image())
}

/// Installed, the image boots with what was added, and keeps /etc as it asks to: its units know the first boot from others.
fn boots(published: &Published, image: &str) -> Result<()> {
    let disk = published.scratch.path().join("derived.qcow2");
    let mut install = Install::new(&format!("containers-storage:{image}"), "docker://registry.example/lab/node:1");
    // Its own policy wants a signature, and nobody signs here.
    install.arguments.push("--policy unsigned".to_owned());
    installer::disk(&published.tools, &published.progress, &install, &disk)?;
    let mut machine = Machine::new(&published.tools, "derived").disk(Disk::qcow2(&disk)).start()?;
    let progress = &published.progress;
    progress.step("boot of somebody else's image", || machine.wait_for_console(FIRST, 1, BOOT))?;
    std::thread::sleep(WRITTEN);
    machine.reset()?;
    progress.step("boot with the /etc it kept", || {
        machine.wait_for_console(AGAIN, 1, BOOT)?;
        machine.wait_for_console(PROGRAM_SAYS, 1, BOOT)
    })?;
    machine.cut_power()
}

/// What building elsewhere leaves in podman's storage; removed at the end.
struct Theirs {
    namespace: String,
}

impl Theirs {
    fn image(&self) -> String {
        // The registry's port makes the name its own.
        format!("localhost/lab-{}", self.namespace.replace([':', '/', '.'], "-"))
    }

    /// The command a person would type, with this registry for the public one.
    fn build(&self, folder: &Path) -> Result<()> {
        podman_build()
            .args(["--pull=always", "--tls-verify=false", "--build-arg"])
            .arg(format!("ROCKETOS={}", self.namespace))
            .args(["-t", &self.image(), "."])
            .cwd(folder)
            .limit(BUILD_LIMIT)
            .printed()
            .quiet()
            .context("building from the published images")
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let names = ["standalone-rootfs", "sealer"].map(|name| format!("{}/{name}", self.namespace));
        // Where building failed, some of them are not there.
        let _ = Run::new("podman").args(["rmi", "--ignore"]).args(names).arg(self.image()).quiet();
    }
}

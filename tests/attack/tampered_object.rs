//! One byte of one file is changed on the disk: that file gives EIO, never the changed byte.

use anyhow::{Result, ensure};
use rocketos_sys::mount::Access;
use rocketos_tests::fixture::{BOOT, Fixture};
use rocketos_tests::{OfflineDisk, Progress};

/// A file that nothing reads while booting.
pub const VICTIM: &str = "/usr/bin/strace";

#[test]
fn a_changed_byte_gives_eio() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("tampered")?;
    let offline = OfflineDisk::copy(&fixture.tools, &disk, &fixture.scratch().join("tampered"))?;
    let image = offline.judge()?.image;
    let object = object_of(&offline, VICTIM)?;
    let at = offline.first_byte_of(&object)?;
    offline.flip(at + 100)?;
    ensure!(offline.debugfs(Access::ReadOnly, &format!("stat {object}"))?.contains("Inode"), "{image}");
    let tampered = fixture.scratch().join("tampered.qcow2.changed");
    offline.write_back(&fixture.tools, &tampered)?;

    let mut machine = fixture.machine("tampered", &tampered).start()?;
    let mut guest = progress.step("boot of the tampered disk", || machine.wait_for_shell(BOOT))?;
    let read = guest.run(&format!("cat {VICTIM} > /dev/null"), BOOT)?;
    ensure!(!read.success() && read.stdout.contains("Input/output error"), "reading gave: {read:?}");
    let others = guest.run("cat /usr/bin/bash > /dev/null", BOOT)?;
    ensure!(others.success(), "an unchanged file fails too: {others:?}");
    machine.cut_power()
}

/// The path of the object that holds a file of the first release.
pub fn object_of(offline: &OfflineDisk, path: &str) -> Result<String> {
    let image = "localhost/rocketos/dev:1.0.0";
    let file = tempfile::NamedTempFile::new()?;
    rocketos_tests::images::copy_out(image, path, file.path())?;
    let bytes = std::fs::read(file.path())?;
    let id = rocketos_store::object_id_of(&bytes).to_hex();
    let object = format!("/{}/{}/{}", rocketos_model::layout::root::STORE_OBJECTS, &id[..2], &id[2..]);
    ensure!(offline.root()?.join(&object[1..]).exists(), "{path} is not in the store as {object}");
    Ok(object)
}

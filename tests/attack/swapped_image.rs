//! The EROFS image under a new release's name is replaced by another valid one: it does not boot, the old release does.

use anyhow::{Context, Result, ensure};
use rocketos_model::layout::root;
use rocketos_sys::mount::Access;
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{OfflineDisk, Progress};

#[test]
fn a_swapped_image_does_not_boot() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("swapped")?;
    let mut machine = fixture.machine("swapped", &disk).start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let switch = format!("rocketctl switch {}", fixture.reference(VERSIONS[1]));
    progress.step("staging the second release", || guest.check(&switch, UPGRADE))?;
    guest.ask("sync")?;
    machine.cut_power()?;

    let offline = OfflineDisk::copy(&fixture.tools, &disk, &fixture.scratch().join("swapped"))?;
    let new = offline.judge()?.image;
    let images = std::fs::read_dir(offline.root()?.join(root::STORE_IMAGES))?;
    let names: Vec<String> = images.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let old = names.iter().find(|name| name.len() == 128 && **name != new.to_hex()).context("only one image")?;
    let target = std::fs::read_link(offline.root()?.join(root::STORE_IMAGES).join(old))?;
    offline.debugfs(Access::Writable, &format!("rm /{}/{new}", root::STORE_IMAGES))?;
    offline.debugfs(Access::Writable, &format!("symlink /{}/{new} {}", root::STORE_IMAGES, target.display()))?;
    let swapped = fixture.scratch().join("swapped.qcow2.changed");
    offline.write_back(&fixture.tools, &swapped)?;

    let mut machine = fixture.machine("swapped", &swapped).start()?;
    let mut guest = progress.step("three tries and the way back", || machine.wait_for_shell(BOOT * 4))?;
    let found = guest.release()?;
    ensure!(found == VERSIONS[0], "release {found} runs");
    let console = machine.console();
    ensure!(console.contains("measures"), "the initramfs did not say why:\n{console}");
    machine.cut_power()
}

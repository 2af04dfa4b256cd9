//! One byte of one file is changed on the disk: whoever reads it has EIO, and by that the node mends itself.

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE};
use rocketos_tests::{Guest, OfflineDisk, Progress};
use serde_json::Value;

use crate::tampered_object::{VICTIM, object_of};

/// Says what a scrub found, once it has ended.
const SCRUBBED: &str = "until journalctl -q -o json MESSAGE_ID=d1c3b7a05e6f4f0f9b1c7f3a2e846d5b | grep .; do sleep 2; done; \
                        while systemctl is-active -q rocketos-scrub || [ \"$(systemctl show -P ActiveState rocketos-scrub)\" = activating ]; do sleep 1; done";
/// The exit code of `verify` where something is not what it should be.
const REFUSED: i32 = 65;

#[test]
fn a_changed_byte_is_mended_from_the_registry() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("mended")?;
    let offline = OfflineDisk::copy(&fixture.tools, &disk, &fixture.scratch().join("mended"))?;
    offline.judge()?;
    let object = object_of(&offline, VICTIM)?;
    offline.flip(offline.first_byte_of(&object)? + 100)?;
    let damaged = fixture.scratch().join("mended.qcow2.changed");
    offline.write_back(&fixture.tools, &damaged)?;

    let mut machine = fixture.machine("mended", &damaged).start()?;
    let mut guest = progress.step("boot of the damaged disk", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let quick = verify(&mut guest, "", 0)?;
    ensure!(quick["outcome"] == "passed", "without reading, nothing is wrong: {quick}");
    // By reading them, it is damage that the kernel speaks of, which starts the scrub.
    let full = verify(&mut guest, "--full", REFUSED)?;
    ensure!(full["checks"].to_string().contains("1 of "), "{full}");
    let said = progress.step("the node mends itself", || guest.check(SCRUBBED, UPGRADE))?;
    ensure!(said.contains("\"ROCKETOS_MENDED\":\"1\"") && said.contains("\"ROCKETOS_LEFT\":\"0\""), "{said}");
    let status = status(&mut guest)?;
    // A reboot is needed where what runs still has the damaged file, and only there.
    let whole = guest.run(&format!("cat {VICTIM} > /dev/null"), BOOT)?.success();
    ensure!(status["rebootNeeded"] == !whole && status["damaged"] == 0, "{status}; read again: {whole}");
    // Whoever opens the object itself has the good one.
    guest.check(&format!("cat /sysroot{object} > /dev/null"), BOOT)?;

    progress.step("reboot", || guest.reboot(BOOT))?;
    guest.wait_booted(BOOT)?;
    guest.check(&format!("cat {VICTIM} > /dev/null && rocketctl scrub --rate 0"), UPGRADE)?;
    let full = verify(&mut guest, "--full", 0)?;
    ensure!(full["outcome"] == "passed", "{full}");
    let status = self::status(&mut guest)?;
    ensure!(status["rebootNeeded"] == false && status["damaged"] == 0, "{status}");
    machine.cut_power()
}

fn verify(guest: &mut Guest, arguments: &str, code: i32) -> Result<Value> {
    let said = guest.run(&format!("rocketctl verify {arguments} --offline --json 2>/dev/null"), UPGRADE)?;
    ensure!(said.status == code, "verify {arguments} ended with {}: {}", said.status, said.stdout);
    serde_json::from_str(said.stdout.trim()).with_context(|| format!("parsing {}", said.stdout))
}

/// Our part of the status.
fn status(guest: &mut Guest) -> Result<Value> {
    let text = guest.ask("rocketctl status --json")?;
    let document: Value = serde_json::from_str(&text).with_context(|| format!("parsing {text}"))?;
    Ok(document["status"]["rocketos"].clone())
}

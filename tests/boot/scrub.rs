//! A release is damaged and its origin does not answer: the other one boots, and mends it once the origin is back.

use anyhow::{Context, Result, ensure};
use rocketos_model::layout;
use rocketos_store::object_id_of;
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Guest, OfflineDisk, Progress};
use serde_json::Value;

/// The exit code of `scrub` where something stays damaged.
const DAMAGED: i32 = 74;
/// What starts a scrub by itself, and would reboot at the end of it.
const BY_ITSELF: &str = "rocketos-scrub.timer rocketos-watch-verity.service rocketos-scrub.service";

/// A scrub at full speed, nothing else scrubbing, and its JSON.
fn scrub(guest: &mut Guest, code: i32) -> Result<Value> {
    guest.ask(&format!("systemctl stop {BY_ITSELF}"))?;
    let said = guest.run("rocketctl scrub --rate 0 --json 2>/run/said", UPGRADE)?;
    ensure!(said.status == code, "scrub ended with {}: {}", said.status, said.stdout);
    serde_json::from_str(said.stdout.trim()).with_context(|| format!("parsing {}", said.stdout))
}

/// Everything of a deployment, or of what runs, is what was signed.
fn verify(guest: &mut Guest, deployment: &str) -> Result<()> {
    guest.check(&format!("rocketctl verify {deployment} --full --offline"), UPGRADE).map(drop)
}

fn expect_release(guest: &mut Guest, version: &str) -> Result<()> {
    let found = guest.release()?;
    ensure!(found == version, "release {found} runs, expected {version}");
    Ok(())
}

/// The deployment that runs.
fn booted(guest: &mut Guest) -> Result<String> {
    let text = guest.ask("rocketctl status --json")?;
    let status: Value = serde_json::from_str(&text).with_context(|| format!("parsing {text}"))?;
    let id = status["status"]["booted"]["rocketos"]["deployment"].as_str();
    id.map(str::to_owned).with_context(|| format!("nothing is booted: {text}"))
}

#[test]
fn where_the_origin_does_not_answer_the_other_deployment_boots() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("scrub")?;
    let mut machine = fixture.machine("scrub", &disk).start()?;
    let mut guest = progress.step("first boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    fixture.tag(VERSIONS[1])?;
    progress.step("upgrade", || guest.check("rocketctl upgrade", UPGRADE))?;
    progress.step("reboot", || guest.reboot(BOOT))?;
    guest.wait_booted(BOOT)?;
    expect_release(&mut guest, VERSIONS[1])?;
    let second = booted(&mut guest)?;
    guest.ask("sync")?;
    machine.cut_power()?;

    let offline = OfflineDisk::copy(&fixture.tools, &disk, &fixture.scratch().join("scrub"))?;
    offline.judge()?;
    let id = object_id_of(&fixture.configuration(1)?).to_hex();
    let object = format!("/{}/{}/{}", layout::root::STORE_OBJECTS, &id[..2], &id[2..]);
    offline.flip(offline.first_byte_of(&object)? + 10)?;
    let damaged = fixture.scratch().join("scrub.qcow2.changed");
    offline.write_back(&fixture.tools, &damaged)?;

    let mut machine = fixture.machine("scrub", &damaged).without_network().start()?;
    let mut guest = progress.step("boot of the damaged disk, without a network", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let said = progress.step("a scrub that cannot mend", || scrub(&mut guest, DAMAGED))?;
    ensure!(said["damaged"][0]["object"] == id.as_str() && said["damaged"][0]["fate"] == "not mended", "{said}");
    ensure!(said["left"] == 1 && said["damagedDeployments"][0] == second.as_str(), "{said}");
    ensure!(said["next"].is_string() && said["next"] != second.as_str() && said["rebootNeeded"] == true, "{said}");
    progress.step("reboot", || guest.reboot(BOOT))?;
    guest.wait_booted(BOOT)?;
    expect_release(&mut guest, VERSIONS[0])?;
    verify(&mut guest, "")?;
    guest.ask("sync")?;
    machine.cut_power()?;

    let mut machine = fixture.machine("scrub", &damaged).start()?;
    let mut guest = progress.step("boot with a network", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let said = progress.step("a scrub that mends", || scrub(&mut guest, 0))?;
    ensure!(said["damaged"][0]["fate"] == "mended" && said["left"] == 0, "{said}");
    ensure!(said["rebootNeeded"] == false && said["next"].is_null(), "{said}");
    verify(&mut guest, &second)?;
    verify(&mut guest, "")?;
    guest.is_refused_nothing()?;
    machine.cut_power()
}

//! Releases that never come up: whatever is wrong, the machine is back on the release before, by itself, and knows why
//! where that can be known.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, BROKEN, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Guest, Progress};

/// Tries of a new entry (`rocketos_model::limits::TRIES`).
const TRIES: u32 = 3;
/// Mounts the ESP, and the root partition writable.
const MOUNT: &str = "mkdir -p /run/esp /run/top && mount /dev/vda1 /run/esp && mount /dev/vda2 /run/top";
const UNMOUNT: &str = "umount /run/esp /run/top && sync";
/// Leaves the release that boots next a single try.
const LAST_TRY: &str =
    "cd /run/esp/loader/entries && ENTRY=$(ls *+3.conf) && mv $ENTRY ${ENTRY%+3.conf}+1-2.conf && cd /";
/// What the console shows when a kernel has been read whole, and starts.
const KERNEL_STARTS: &str = "EFI stub: ";

/// What is done to a staged release before the machine reboots into it.
struct Shape {
    name: &'static str,
    /// With `$UKI` its kernel on the ESP, and `$IMAGE` its mountable image in the store.
    damage: &'static str,
    /// Undoes what an upgrade does not.
    mend: &'static str,
    /// What is known afterwards.
    reason: &'static str,
}

const SHAPES: [Shape; 4] = [
    Shape { name: "its kernel is missing", damage: "rm $UKI", mend: "true", reason: "its kernel is not on the ESP" },
    Shape {
        name: "its kernel is truncated",
        damage: "truncate -s 4000000 $UKI",
        mend: "true",
        reason: "its kernel on the ESP is damaged",
    },
    Shape {
        // Under what is compressed it would bring the firmware down (docs/gaps.md).
        name: "its kernel names another image",
        damage: "AT=$(grep -abo v1-sha512-12: $UKI | head -n 1 | cut -d : -f 1) && \
                 printf 00000000 | dd of=$UKI bs=1 seek=$((AT + 20)) conv=notrunc status=none",
        mend: "true",
        reason: "its kernel on the ESP is damaged",
    },
    Shape {
        name: "its image is missing",
        damage: "mv $IMAGE $IMAGE.away",
        mend: "mv $IMAGE.away $IMAGE",
        reason: "its initramfs said: ",
    },
];

/// Runs a command where `$UKI` and `$IMAGE` are those of the staged release.
fn on_disk(guest: &mut Guest, deployment: &str, image: &str, command: &str) -> Result<()> {
    let names =
        format!("UKI=$(echo /run/esp/EFI/rocketos/{deployment}/*.efi); IMAGE=/run/top/composefs/images/{image}");
    guest.check(&format!("{MOUNT} && {names} && {command} && {UNMOUNT}"), BOOT).map(drop)
}

/// Reboots, and sees the release before at work, which knows why the other one is not there.
fn goes_back(guest: &mut Guest, progress: &Progress, reason: &str) -> Result<()> {
    let began = Instant::now();
    guest.reboot(BOOT * (TRIES + 1))?;
    is_back(guest, progress, reason, began)
}

/// Sees the release before at work, in the boot that comes or is there.
fn is_back(guest: &mut Guest, progress: &Progress, reason: &str, began: Instant) -> Result<()> {
    guest.wait_until_it_answers(BOOT)?;
    guest.wait_booted(BOOT)?;
    progress.say(&format!("{:.0} s from the reboot to the release before at work", began.elapsed().as_secs_f64()));
    let found = guest.release()?;
    ensure!(found == VERSIONS[0], "release {found} runs");
    let status = guest.status()?;
    let newest = &status["status"]["rocketos"]["health"]["failures"][0];
    let told = newest["reason"].as_str().unwrap_or_default();
    ensure!(told.contains(reason), "the reason is not '{reason}': {status}");
    Ok(())
}

#[test]
fn releases_that_do_not_come_up_are_left() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("failing")?;
    let mut machine = fixture.machine("failing", &disk).start()?;
    let mut guest = progress.step("boot of the good release", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    fixture.tag(VERSIONS[1])?;
    for Shape { name, damage, mend, reason } in SHAPES {
        progress.step(name, || {
            guest.check("rocketctl upgrade --retry", UPGRADE)?;
            let staged = guest.status()?["status"]["staged"].clone();
            let deployment = staged["rocketos"]["deployment"].as_str().context("nothing is staged")?.to_owned();
            let image = staged["composefs"]["verity"].as_str().context("it has no image")?.to_owned();
            // One try is left: that all three are used up shows the one whose kernel panics.
            on_disk(&mut guest, &deployment, &image, &format!("{damage} && {LAST_TRY}"))?;
            goes_back(&mut guest, &progress, reason)?;
            on_disk(&mut guest, &deployment, &image, mend)
        })?;
    }
    progress.step("its kernel panics", || {
        guest.check(&format!("rocketctl switch {}", fixture.reference(BROKEN)), UPGRADE)?;
        goes_back(&mut guest, &progress, "it did not come up")?;
        let entries = guest.status()?.to_string();
        ensure!(entries.contains(&format!("+0-{TRIES}.conf")), "the tries were not used up: {entries}");
        let words = guest.ask("rocketctl status")?;
        ensure!(words.contains("failed"), "status does not say that it failed:\n{words}");
        Ok(())
    })?;
    progress.step("its initramfs hangs", || {
        guest.check("rocketctl upgrade --retry", UPGRADE)?;
        guest.check(&format!("{MOUNT} && {LAST_TRY} && {UNMOUNT}"), BOOT)?;
        let (resets, kernels) = (machine.resets(), machine.console().matches(KERNEL_STARTS).count());
        let began = Instant::now();
        drop(guest.run("systemctl reboot", Duration::from_secs(5)));
        machine.wait_for_console(KERNEL_STARTS, kernels + 1, BOOT)?;
        machine.silence_disk(true)?;
        // Its own reset was the first.
        while machine.resets() < resets + 2 {
            ensure!(began.elapsed() < BOOT, "nothing resets a machine whose initramfs hangs");
            std::thread::sleep(Duration::from_secs(1));
        }
        machine.silence_disk(false)?;
        is_back(&mut guest, &progress, "its initramfs said: finding the disk: no end after", began)
    })?;
    machine.cut_power()
}

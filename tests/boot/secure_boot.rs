//! Secure Boot with keys of one's own: what starts, and what cannot change what starts. Real firmware, loader, stub and kernel.

mod bench;

use std::time::Duration;

use anyhow::{Result, ensure};
use bench::{ANY, Bench, DENIED, FOREIGN, KERNEL, KERNEL_RAN, LOADER, START, STARTED, entry};
use rocketos_boot::uki::authenticode;
use rocketos_tests::Progress;

/// How a hypervisor adds to the kernel's command line (systemd-stub(7)).
const SMBIOS_CMDLINE: &str = "type=11,value=io.systemd.stub.kernel-cmdline-extra=";
/// An argument that would have somebody else's program run.
const EVIL: &str = "init=/bin/sh";
const DIGEST: &str = "composefs.digest=v1-sha512-12:5a5a";

/// Refuses another end than one of `expected`.
fn expect(what: &str, (found, console): (String, String), expected: &[&str]) -> Result<()> {
    ensure!(expected.contains(&found.as_str()), "{what}: {found}\n{console}");
    Ok(())
}

#[test]
fn keys_are_enrolled_and_only_what_they_signed_starts() -> Result<()> {
    let progress = Progress::new();
    let bench = Bench::ready(&progress)?;
    let good = bench.esp()?;
    progress.step("what is signed starts", || {
        let (found, console) = bench.start(&good, ANY)?;
        ensure!(console.contains("UEFI Secure Boot is enabled"), "{console}");
        expect("a signed kernel", (found, console), &[STARTED])
    })?;
    progress.step("a kernel that nobody signed does not", || {
        let files = good.clone().put(KERNEL, bench.kernel("ID=one\n")?);
        expect("an unsigned kernel", bench.start(&files, ANY)?, DENIED)
    })?;
    progress.step("the hypervisor adds to the command line", || {
        let argument = format!("{SMBIOS_CMDLINE}{EVIL}");
        let found = bench.start_with(&good, bench.variables(), &["-smbios", &argument], |_| Ok(()), ANY)?;
        expect("an argument by SMBIOS", found, &[FOREIGN])
    })
}

#[test]
#[ignore = "many starts"]
fn unsigned_changed_and_wrongly_signed_programs_do_not_start() -> Result<()> {
    let progress = Progress::new();
    let bench = Bench::ready(&progress)?;
    let good = bench.esp()?;
    let kernel = bench.kernel("ID=one\n")?;
    let mut changed = bench.owner.sign(&kernel)?;
    let at = changed.windows(8).position(|window| window == b"loglevel").unwrap_or_default();
    changed[at] ^= 1;
    let mut loader = bench.owner.sign(&bench.loader)?;
    loader[5000] ^= 1;
    for (what, path, program) in [
        ("a loader that nobody signed", LOADER, bench.loader.clone()),
        ("a loader signed by somebody else", LOADER, bench.stranger.sign(&bench.loader)?),
        ("a loader of which one bit is another", LOADER, loader),
        ("a kernel signed by somebody else", KERNEL, bench.stranger.sign(&kernel)?),
        ("a kernel whose command line is another", KERNEL, changed),
    ] {
        let files = good.clone().put(path, program);
        progress.step(what, || expect(what, bench.start(&files, ANY)?, DENIED))?;
    }
    progress.step("a kernel that both signed, as in a rotation, starts", || {
        let both = bench.owner.sign(&bench.stranger.sign(&kernel)?)?;
        expect("two signatures", bench.start(&good.clone().put(KERNEL, both), ANY)?, &[STARTED])
    })
}

#[test]
#[ignore = "many starts"]
fn entries_and_files_on_the_esp_change_no_argument() -> Result<()> {
    let progress = Progress::new();
    let bench = Bench::ready(&progress)?;
    let good = bench.esp()?;
    let evil = format!("{EVIL} {DIGEST}");
    let addon = "loader/addons/evil.addon.efi";
    for (what, files) in [
        (
            "options of the entry",
            good.clone().put("loader/entries/rocketos-000001-a.conf", entry(&format!("options {evil}\n"))),
        ),
        ("an addon that nobody signed", good.clone().put(addon, bench.addon(&evil, None)?)),
        ("an addon signed by somebody else", good.clone().put(addon, bench.addon(&evil, Some(&bench.stranger))?)),
        (
            "an addon of the kernel's own that nobody signed",
            good.clone().put(&format!("{KERNEL}.extra.d/evil.addon.efi"), bench.addon(&evil, None)?),
        ),
        (
            "credentials on the ESP",
            good.clone()
                .put("loader/credentials/systemd.extra-unit.evil.service.cred", "[Service]\nExecStart=/bin/sh\n")
                .put(&format!("{KERNEL}.extra.d/tmpfiles.extra.cred"), "f /etc/evil\n"),
        ),
    ] {
        progress.step(what, || expect(what, bench.start(&files, KERNEL_RAN)?, &[STARTED]))?;
    }
    progress.step("a signed addon with an argument that the image does not take", || {
        let files = good.clone().put(addon, bench.addon(&evil, Some(&bench.owner))?);
        expect("a foreign argument", bench.start(&files, KERNEL_RAN)?, &[FOREIGN])
    })?;
    progress.step("a signed addon with one that it takes", || {
        let files = good.clone().put("loader/addons/local.addon.efi", bench.addon("hugepages=2", Some(&bench.owner))?);
        expect("an allowed argument", bench.start(&files, KERNEL_RAN)?, &[STARTED])
    })
}

#[test]
#[ignore = "many starts"]
fn the_platform_and_the_menu_change_no_argument() -> Result<()> {
    let progress = Progress::new();
    let bench = Bench::ready(&progress)?;
    let good = bench.esp()?;
    for (what, argument) in [
        ("a second digest by SMBIOS", DIGEST),
        ("a unit by SMBIOS", "systemd.unit=rescue.target"),
        ("SELinux off by SMBIOS", "enforcing=0"),
    ] {
        let argument = format!("{SMBIOS_CMDLINE}{argument}");
        progress.step(what, || {
            let found = bench.start_with(&good, bench.variables(), &["-smbios", &argument], |_| Ok(()), ANY)?;
            expect(what, found, &[FOREIGN])
        })?;
    }
    progress.step("the loader's editor, switched on and used", || {
        let files = good.clone().put("loader/loader.conf", "timeout 60\neditor yes\n");
        let edit = |machine: &mut rocketos_tests::Running| {
            machine.wait_for_console("Boot in", 1, START)?;
            for keys in ["e", " ", EVIL, "\r"] {
                machine.type_on_console(keys)?;
                std::thread::sleep(Duration::from_secs(2));
            }
            Ok(())
        };
        let found = bench.start_with(&files, bench.variables(), &[], edit, ANY)?;
        expect("the editor", found, &[STARTED])
    })
}

#[test]
#[ignore = "many starts"]
fn a_kernel_taken_out_of_its_uki_does_not_start() -> Result<()> {
    let progress = Progress::new();
    let bench = Bench::ready(&progress)?;
    let alone = "title alone\nsort-key rocketos\nversion 1\nlinux /vmlinuz\noptions console=ttyS0 init=/bin/sh\n";
    let files = bench.esp()?.put("vmlinuz", bench.inner_kernel()?).put("loader/entries/rocketos-000001-a.conf", alone);
    progress.step("the kernel alone", || expect("the kernel alone", bench.start(&files, ANY)?, DENIED))
}

#[test]
#[ignore = "many starts"]
fn what_is_revoked_does_not_start_whoever_signed_it() -> Result<()> {
    let progress = Progress::new();
    let bench = Bench::ready(&progress)?;
    let (old, new) = (bench.kernel("ID=old\n")?, bench.kernel("ID=new\n")?);
    let downgraded = bench.esp()?.put(KERNEL, bench.owner.sign(&old)?);
    progress.step("a downgrade before it is revoked", || {
        expect("the old kernel", bench.start(&downgraded, ANY)?, &[STARTED])
    })?;
    let digest = authenticode::digest(&old)?;
    let variables = progress.step("a machine that revokes it", || bench.enrolled_apart(&[digest]))?;
    progress.step("a downgrade after", || {
        let found = bench.start_with(&downgraded, &variables, &[], |_| Ok(()), ANY)?;
        expect("the revoked kernel", found, DENIED)
    })?;
    progress.step("the new one", || {
        let files = bench.esp()?.put(KERNEL, bench.owner.sign(&new)?);
        let found = bench.start_with(&files, &variables, &[], |_| Ok(()), ANY)?;
        expect("the new kernel", found, &[STARTED])
    })
}

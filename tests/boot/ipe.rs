//! IPE (Linux, `Documentation/admin-guide/LSM/ipe.rst`): what it knows of an image of ours, and of what lies beside it.
//!
//! Its rules know files by their fs-verity digests, through the overlay that an image is; they know nothing of who runs them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rocketos_model::layout;
use rocketos_replay::verity::Seal;
use rocketos_tests::command::Run;
use rocketos_tests::fixture::{BOOT, Fixture};
use rocketos_tests::images::copy_out;
use rocketos_tests::{Disk, OfflineDisk, Progress, paths};

/// The release that runs.
const IMAGE: &str = "localhost/rocketos/dev:1.0.0";
/// Programs and libraries that the policy knows; the first is run.
const KNOWN: [&str; 3] =
    ["/usr/bin/true", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"];
/// Roles of Secure Boot's keys that are enrolled.
const ROLES: [&str; 3] = ["PK", "KEK", "db"];
/// Where the kernel takes policies.
const KERNEL: &str = "/sys/kernel/security/ipe";

fn rocketctl() -> Run {
    Run::new(paths::work().join("tools/rocketctl"))
}

/// Signs what firmware starts, and has the loader enrol the keys.
fn secured(offline: &OfflineDisk, keys: &Path) -> Result<()> {
    offline.esp()?;
    let top = offline.folder().join("esp");
    for path in programs(&top.join("EFI"))? {
        rocketctl().args(["keys", "sign", "--keys"]).arg(keys).arg(&path).quiet()?;
        let name = path.strip_prefix(&top).context("a file elsewhere")?.display().to_string();
        offline.put_on_esp(&path, &name)?;
    }
    for role in ROLES {
        let name = format!("{role}.auth");
        offline.put_on_esp(&keys.join(&name), &format!("{}/{name}", layout::esp::KEYS))?;
    }
    Ok(())
}

fn programs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(programs(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

/// A policy by which only [`KNOWN`] is executed, signed by the owner of the firmware's keys.
fn policy(keys: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let mut text =
        "policy_name=rocketos policy_version=0.0.1\nDEFAULT action=ALLOW\nDEFAULT op=EXECUTE action=DENY\n".to_owned();
    for path in KNOWN {
        let file = scratch.join("known");
        copy_out(IMAGE, path, &file)?;
        let digest = hex::encode(Seal::of(&std::fs::read(&file)?).digest());
        std::fs::remove_file(&file)?;
        writeln!(text, "op=EXECUTE fsverity_digest=sha512:{digest} action=ALLOW")?;
    }
    let [plain, signed] = ["policy", "policy.p7b"].map(|name| scratch.join(name));
    std::fs::write(&plain, text)?;
    Run::new("openssl")
        .args(["smime", "-sign", "-binary", "-noattr", "-nodetach", "-nosmimecap", "-outform", "der", "-signer"])
        .arg(keys.join("db.crt"))
        .arg("-inkey")
        .arg(keys.join("db.key"))
        .arg("-in")
        .arg(&plain)
        .arg("-out")
        .arg(&signed)
        .quiet()?;
    Ok(std::fs::read(&signed)?)
}

#[test]
#[ignore = "tells what is known, in three minutes: cargo xtask test --long boot"]
fn knows_the_files_of_an_image_and_not_those_of_containers() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let scratch = tempfile::tempdir_in(fixture.scratch())?;
    let (keys, disk) = (scratch.path().join("keys"), fixture.disk("ipe")?);
    rocketctl().args(["keys", "init"]).arg(&keys).quiet()?;
    let policy = policy(&keys, scratch.path())?;
    let offline = OfflineDisk::copy(&fixture.tools, &disk, &scratch.path().join("offline"))?;
    secured(&offline, &keys)?;
    offline.write_back(&fixture.tools, &disk)?;
    let variables = scratch.path().join("variables.qcow2");
    let machine = fixture.machine_with("ipe", Disk::qcow2(&disk)).secure_boot().variables(&variables);
    let mut machine = machine.start()?;
    let mut guest = progress.step("boot under Secure Boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let keys = guest.ask("rocketctl keys status")?;
    println!("{keys}");
    guest.write_file("/run/policy.p7b", &policy)?;
    guest.check(&format!("cat /run/policy.p7b > {KERNEL}/new_policy"), BOOT).context("the kernel takes no policy")?;
    // It tells what it would refuse, lest this shell ends; and all of it.
    guest.check(
        &format!(
            "sysctl -w kernel.printk_ratelimit=0; echo 0 > {KERNEL}/enforce; echo 1 > {KERNEL}/success_audit; echo 1 > {KERNEL}/policies/rocketos/active"
        ),
        BOOT,
    )?;
    guest.check("mkdir -p /var/tmp && cp /usr/bin/true /var/tmp/copy && /usr/bin/true && /var/tmp/copy", BOOT)?;
    let said = guest.check("dmesg | grep ipe_op=EXECUTE || dmesg | tail -n 40", BOOT)?;
    println!("{said}");
    let ruled = |path: &str, action: &str| {
        let path = format!("path=\"{path}\"");
        said.lines().any(|line| line.contains(&path) && line.contains(&format!("action={action}")))
    };
    ensure!(ruled(KNOWN[0], "ALLOW"), "a file of the image is not known: {said}");
    ensure!(ruled("/var/tmp/copy", "DENY"), "what lies in /var is executed: {said}");
    drop(guest);
    machine.cut_power()
}

//! The harness itself: firmware boots, a shell is had in an unchanged Debian, power is cut, state is kept.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rocketos_tests::command::Run;
use rocketos_tests::qemu::OnReboot;
use rocketos_tests::{Disk, Ended, Format, Machine, Progress, Registry, Tools, installer, paths};

const BOOT: Duration = Duration::from_secs(180);
const SHORT: Duration = Duration::from_secs(60);

fn tools() -> Tools {
    Tools::ensure(&Progress::new()).unwrap()
}

/// A Debian with systemd and udev, as an initramfs; kept between runs.
fn debian() -> PathBuf {
    let kept = paths::work().join("harness-debian.cpio");
    if !kept.exists() {
        std::fs::create_dir_all(paths::work()).unwrap();
        let folder = tempfile::tempdir_in(paths::work()).unwrap();
        let (archive, fresh) = (folder.path().join("debian.tar"), folder.path().join("debian.cpio"));
        let packages = "--include=systemd-sysv,udev,kmod,linux-image-cloud-amd64";
        Run::new("mmdebstrap").args(["--variant=apt", packages, "trixie"]).arg(&archive).quiet().unwrap();
        installer::initramfs_of(&archive, &fresh).unwrap();
        std::fs::rename(fresh, &kept).unwrap();
    }
    kept
}

fn from_memory(tools: &Tools) -> Machine {
    let kernel = tools.stock_kernel().unwrap();
    Machine::new(tools, "debian")
        .memory(2048)
        .kernel(&kernel, Some(&debian()), "rdinit=/usr/lib/systemd/systemd console=ttyS0")
        .with_shell()
}

#[test]
fn firmware_starts_and_ends_with_its_machine() {
    let mut machine = Machine::new(&tools(), "firmware").without_network().start().unwrap();
    machine.wait_for_console("BdsDxe", 1, SHORT).unwrap();
    machine.reset().unwrap();
    machine.wait_for_console("BdsDxe", 2, SHORT).unwrap();
    machine.cut_power().unwrap();
}

#[test]
fn the_time_limit_ends_a_machine_nobody_waits_for() {
    let limit = Duration::from_secs(3);
    let mut machine = Machine::new(&tools(), "limit").without_network().time_limit(limit).start().unwrap();
    let error = machine.wait_for_end(SHORT).unwrap_err();
    assert!(format!("{error:#}").contains("longer than its time limit"), "{error:#}");
}

#[test]
fn registry_answers_and_ends_when_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let tools = tools();
    let registry = Registry::start(&tools, folder.path()).unwrap();
    let (status, body) = registry.get("/v2/_catalog", "*/*").unwrap();
    assert!(status.contains(" 200 "), "{status}");
    assert_eq!(String::from_utf8_lossy(&body).trim(), r#"{"repositories":[]}"#);
    let port = registry.port();
    drop(registry);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(Registry::on_port(&tools, folder.path(), port).unwrap().port(), port);
}

#[test]
fn a_shell_is_had_in_an_unchanged_debian() {
    let tools = tools();
    let folder = tempfile::tempdir_in(paths::work()).unwrap();
    let (base, disk) = (folder.path().join("base"), folder.path().join("disk"));
    std::fs::write(&base, b"what the base holds").unwrap();
    std::fs::OpenOptions::new().write(true).open(&base).unwrap().set_len(1 << 20).unwrap();
    tools.overlay(&base, Format::Raw, &disk).unwrap();
    let start = Instant::now();
    let mut machine = from_memory(&tools)
        .disk(Disk::qcow2(&disk).serial("data"))
        .file("/etc/handed/in.conf", "by the firmware\n")
        .on_reboot(OnReboot::End)
        .start()
        .unwrap();
    let mut guest = machine.wait_for_shell(BOOT).unwrap();
    eprintln!("a shell after {:.1} s", start.elapsed().as_secs_f64());
    eprintln!("state: {} after {:.1} s", guest.wait_booted(BOOT).unwrap(), start.elapsed().as_secs_f64());

    assert_eq!(guest.ask("cat /etc/handed/in.conf").unwrap(), "by the firmware");
    assert_eq!(guest.run("echo out; echo err >&2; exit 7", SHORT).unwrap().status, 7);
    assert_eq!(guest.run("printf 'no line end'", SHORT).unwrap().stdout, "no line end");
    let quoted = guest.ask("cat <<'END'\n$x \"y\" 'z' \\ \nEND").unwrap();
    assert_eq!(quoted, "$x \"y\" 'z' \\");
    let long = guest.run("seq 1 20000", SHORT).unwrap().stdout;
    assert_eq!(long.lines().count(), 20000);
    assert_eq!(long, (1..=20000).map(|n| format!("{n}\n")).collect::<String>());

    let bytes: Vec<u8> = (0..100_000u32).map(|n| (n * 7 % 251) as u8).collect();
    guest.write_file("/tmp/a/file", &bytes).unwrap();
    assert_eq!(guest.ask("wc -c < /tmp/a/file").unwrap(), "100000");
    let error = guest.run("sleep 1000", Duration::from_secs(2)).unwrap_err();
    assert!(format!("{error:#}").contains("no end within 2 s"), "{error:#}");
    assert_eq!(guest.ask("echo back").unwrap(), "back");
    drop(guest);
    assert_eq!(machine.wait_for_shell(SHORT).unwrap().ask("echo again").unwrap(), "again");
    machine.cut_power().unwrap();
}

#[test]
fn a_machine_restarts_saves_and_says_why_it_ended() {
    let tools = tools();
    let mut machine = from_memory(&tools).start().unwrap();
    let mut guest = machine.wait_for_shell(BOOT).unwrap();
    guest.wait_booted(BOOT).unwrap();
    guest.ask("echo one > /tmp/note").unwrap();
    let before = guest.boot_id().unwrap();
    guest.reboot(BOOT).unwrap();
    assert_ne!(guest.boot_id().unwrap(), before);
    assert!(!guest.run("cat /tmp/note", SHORT).unwrap().success());
    guest.wait_booted(BOOT).unwrap();
    guest.run("systemctl poweroff", Duration::from_secs(5)).ok();
    assert_eq!(machine.wait_for_end(SHORT).unwrap(), Ended::PoweredOff);
}

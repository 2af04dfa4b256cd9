//! User data by each provider: from nothing to a configured node; and broken: a node with defaults that says which line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rocketos_tests::command::Run;
use rocketos_tests::credentials::base64;
use rocketos_tests::fixture::{BOOT, Fixture};
use rocketos_tests::{Disk, Guest, Machine, Progress};
use serde_json::Value;

/// What one request may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Where a guest finds the host's loopback.
const HOST: &str = "10.0.2.2";
/// How a hypervisor adds to the kernel's command line (systemd-stub(7)); `dev` takes any argument.
const CMDLINE: &str = "type=11,value=io.systemd.stub.kernel-cmdline-extra=";
/// A token of a metadata service.
const TOKEN: &str = "AQAEAP==";
/// A value that no image has.
const MAPS: &str = "300123";
/// Where the ESP is mounted for a moment.
const WITH_ESP: &str = "set -e; mkdir -p /run/esp; esp=$(grep '^esp' /run/rocketos/booted.toml | cut -d '\"' -f 2); \
                        mount -t vfat \"$esp\" /run/esp; trap 'cd /; umount /run/esp' EXIT; cd /run/esp/EFI/rocketos; ";

/// Everything that a provider configures here: a text, a name, a parameter of the kernel.
fn document(name: &str) -> String {
    format!(
        "[settings]\nmotd = 'by {name}'\n[settings.network]\nhostname = '{name}'\n\
         [settings.kernel.sysctl]\n'vm.max_map_count' = '{MAPS}'\n"
    )
}

/// A web server on the host's loopback that has one document, by any path and, as a metadata service, for its token.
fn serve(document: String) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port for user data")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who hangs up has asked nothing.
            let _ = answer(stream, &document);
        }
    });
    Ok(port)
}

fn answer(mut stream: TcpStream, document: &str) -> Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut head = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        match line? {
            line if line.is_empty() => break,
            line => head += &(line.to_lowercase() + "\n"),
        }
    }
    let (status, body) = match () {
        () if head.starts_with("put /latest/api/token ") => ("200 OK", TOKEN),
        () if head.starts_with("get /latest/") && !head.contains(&TOKEN.to_lowercase()) => ("401 Unauthorized", ""),
        () => ("200 OK", document),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    Ok(())
}

/// A disk for cloud-init, as people make them.
fn cidata(folder: &Path, kind: &str, document: &str) -> Result<PathBuf> {
    let (content, file) = (folder.join(format!("{kind}-content")), folder.join(kind));
    std::fs::create_dir(&content)?;
    std::fs::write(content.join("user-data"), document)?;
    std::fs::write(content.join("meta-data"), "instance-id: one\n")?;
    if kind == "iso" {
        Run::new("xorriso")
            .args(["-as", "mkisofs", "-quiet", "-J", "-r", "-V", "cidata", "-o"])
            .arg(&file)
            .arg(&content)
            .quiet()?;
        return Ok(file);
    }
    std::fs::File::create(&file)?.set_len(4 << 20)?;
    Run::new("mkfs.vfat").args(["-n", "CIDATA"]).arg(&file).quiet()?;
    Run::new("mcopy")
        .arg("-i")
        .arg(&file)
        .arg(content.join("user-data"))
        .arg(content.join("meta-data"))
        .arg("::")
        .quiet()?;
    Ok(file)
}

fn compact_disc(file: &Path) -> [String; 4] {
    let drive = format!("if=none,id=seed,media=cdrom,readonly=on,format=raw,file={}", file.display());
    ["-drive".to_owned(), drive, "-device".to_owned(), "ide-cd,drive=seed,bus=ide.0".to_owned()]
}

fn cmdline(words: &str) -> [String; 2] {
    ["-smbios".to_owned(), format!("{CMDLINE}{words}")]
}

fn sha256(folder: &Path, text: &str) -> Result<String> {
    let file = folder.join("document");
    std::fs::write(&file, text)?;
    let said = Run::new("sha256sum").arg(&file).output()?;
    Ok(said.split(' ').next().unwrap_or_default().to_owned())
}

fn receipt(guest: &mut Guest, name: &str) -> Result<Value> {
    let text = guest.ask(&format!("cat /run/rocketos/settings/{name}.json"))?;
    serde_json::from_str(&text).with_context(|| format!("parsing {text}"))
}

/// Text, name and parameter are what the document says; the release is not blamed, and nothing was left out.
fn is_configured(guest: &mut Guest, name: &str) -> Result<()> {
    guest.check(&format!("until grep -q 'by {name}' /etc/motd; do sleep 1; done"), BOOT)?;
    let hostname = guest.ask("cat /proc/sys/kernel/hostname")?;
    ensure!(hostname == name, "the node is called {hostname}");
    guest.check(&format!("until grep -q {MAPS} /proc/sys/vm/max_map_count; do sleep 1; done"), BOOT)?;
    let boot = receipt(guest, "boot")?;
    let whole = boot["refused"].as_array().is_none_or(Vec::is_empty);
    ensure!(boot["outcome"] == "applied" && whole, "{boot}");
    let told = guest.ask("journalctl --no-pager -q -b -o cat --grep='Settings are not in force' || true")?;
    ensure!(told.is_empty(), "{told}");
    let circles = guest.ask("journalctl --no-pager -q -b -o cat --grep='ordering cycle' || true")?;
    ensure!(circles.is_empty(), "units wait for each other: {circles}");
    guest.ask("rocketctl internal configured").map(drop)
}

/// Boots a machine of its own, to which the caller adds its user data.
fn boots(
    fixture: &Fixture,
    progress: &Progress,
    name: &str,
    hand_in: impl FnOnce(Machine) -> Result<Machine>,
) -> Result<()> {
    progress.step(&format!("user data by {name}"), || {
        let disk = fixture.disk(name)?;
        let mut machine = hand_in(fixture.machine(name, &disk))?.start()?;
        let mut guest = machine.wait_for_shell(BOOT)?;
        guest.wait_booted(BOOT)?;
        is_configured(&mut guest, name)?;
        guest.is_refused_nothing()?;
        machine.cut_power()
    })
}

#[test]
fn a_disk_for_cloud_init_configures_a_node_once() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let scratch = tempfile::tempdir()?;
    let seed = cidata(scratch.path(), "vfat", &document("vfat"))?;
    let disk = fixture.disk("nocloud")?;
    let mut machine = fixture.machine("nocloud", &disk).disk(Disk::raw(&seed).read_only()).start()?;
    let mut guest = progress.step("the first boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    is_configured(&mut guest, "vfat")?;
    let mounted = guest.ask("grep -E '^/dev/vdb' /proc/self/mounts || true")?;
    ensure!(mounted.is_empty(), "the disk stays mounted: {mounted}");
    // Nothing else waits for the network, and nobody asks.
    guest.ask(
        "test ! -e /run/rocketos/user-data-waits && ! systemctl is-active --quiet rocketos-settings-network.service",
    )?;
    guest.ask("sync")?;
    machine.cut_power()?;
    // Its disk is gone, and another one is there: what was taken first counts.
    let other = tempfile::tempdir()?;
    let seed = cidata(other.path(), "vfat", &document("other"))?;
    let mut machine = fixture.machine("nocloud", &disk).disk(Disk::raw(&seed).read_only()).start()?;
    let mut guest = progress.step("with another disk", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    is_configured(&mut guest, "vfat")?;
    guest.is_refused_nothing()?;
    machine.cut_power()
}

#[test]
#[ignore = "six machines: cargo xtask test --long settings"]
fn each_other_provider_configures_a_node_from_nothing() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let scratch = tempfile::tempdir()?;
    boots(&fixture, &progress, "iso", |machine| {
        Ok(machine.arguments(compact_disc(&cidata(scratch.path(), "iso", &document("iso"))?)))
    })?;
    boots(&fixture, &progress, "smbios", |machine| {
        Ok(machine.credentials(|set| set.set("rocketos.user-data", document("smbios"))))
    })?;
    boots(&fixture, &progress, "fw-cfg", |machine| {
        let file = scratch.path().join("fw-cfg");
        std::fs::write(&file, base64(document("fw-cfg").as_bytes()))?;
        let entry = format!("name=opt/io.systemd.credentials/rocketos.user-data,file={}", file.display());
        Ok(machine.arguments(["-fw_cfg".to_owned(), entry]))
    })?;
    boots(&fixture, &progress, "ec2", |machine| {
        let port = serve(document("ec2"))?;
        Ok(machine.arguments(cmdline(&format!("rocketos.user-data-metadata=http://{HOST}:{port}/"))))
    })?;
    boots(&fixture, &progress, "url", |machine| {
        let port = serve(document("url"))?;
        let hash = sha256(scratch.path(), &document("url"))?;
        let words = format!("rocketos.user-data-url=http://{HOST}:{port}/a rocketos.user-data-sha256={hash}");
        Ok(machine.arguments(cmdline(&words)))
    })?;
    boots(&fixture, &progress, "included", |machine| {
        let inner = document("included");
        let (port, hash) = (serve(inner.clone())?, sha256(scratch.path(), &inner)?);
        let outer = format!("include = [{{ url = 'http://{HOST}:{port}/a', sha256 = '{hash}' }}]\n");
        Ok(machine.credentials(|set| set.set("rocketos.user-data", outer)))
    })
}

#[test]
fn broken_user_data_leaves_a_node_that_can_be_reached_and_says_which_line() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("broken-user-data")?;
    let broken = "[settings]\nmotd = 'by nobody'\n\n[settings.network]\nhostnam = 'nobody'\n";
    let mut machine =
        fixture.machine("broken-user-data", &disk).credentials(|set| set.set("rocketos.user-data", broken)).start()?;
    let mut guest = progress.step("the first boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let line = "line 5 of the user data (credentials)";
    for command in [
        "cat /run/issue.d/50-rocketos-settings.issue",
        "cat /run/motd.d/50-rocketos-settings",
        "cat /run/rocketos/settings/boot.json",
        "journalctl --no-pager -q -b -o cat MESSAGE_ID=b3d8e0a74c1f4f6c8e52a9d71f60b34d",
    ] {
        let said = guest.ask(command)?;
        ensure!(said.contains(line), "{command} does not say '{line}': {said}");
    }
    machine.wait_for_console(line, 1, LIMIT)?;
    // As a node without user data, and the release is not to blame.
    guest.ask("! grep -q nobody /etc/motd /proc/sys/kernel/hostname")?;
    let boot = receipt(&mut guest, "boot")?;
    ensure!(boot["outcome"] == "applied" && boot["refused"][0]["what"] == "user data (credentials)", "{boot}");
    guest.ask("rocketctl internal configured && test \"$(cat /proc/net/route | wc -l)\" -gt 1")?;

    // On the ESP: below what the hypervisor says, which is still broken and counts for nothing.
    progress.step("a file on the ESP", || {
        guest.write_file("/run/user-data.toml", document("esp").as_bytes())?;
        guest.check(&format!("{WITH_ESP} cp /run/user-data.toml user-data.toml"), BOOT)?;
        guest.reboot(BOOT)?;
        guest.wait_booted(BOOT)?;
        guest.ask("grep -q 'by esp' /etc/motd && grep -q '^esp$' /proc/sys/kernel/hostname")?;
        let said = guest.ask("cat /run/issue.d/50-rocketos-settings.issue")?;
        ensure!(said.contains(line), "{said}");
        Ok(())
    })?;
    progress.step("the same, broken", || {
        guest.check(&format!("{WITH_ESP} printf '[settings]\\nmotd = \\n' > user-data.toml"), BOOT)?;
        guest.reboot(BOOT)?;
        guest.wait_booted(BOOT)?;
        // What it said before stays in force.
        guest.ask("grep -q 'by esp' /etc/motd")?;
        let boot = receipt(&mut guest, "boot")?;
        let told = boot["refused"].to_string();
        ensure!(told.contains("user data (esp)") && told.contains("line 2, column 8"), "{boot}");
        Ok(())
    })?;
    progress.step("the same, gone", || {
        guest.check(&format!("{WITH_ESP} rm user-data.toml"), BOOT)?;
        guest.reboot(BOOT)?;
        guest.wait_booted(BOOT)?;
        guest.ask("! grep -q 'by esp' /etc/motd").map(drop)
    })?;
    guest.is_refused_nothing()?;
    machine.cut_power()
}

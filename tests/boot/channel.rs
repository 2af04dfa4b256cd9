//! A node on a channel: its wave, a halt, what its settings say of both, a recall, keys that rotate while it is off, and a policy that
//! comes with them.

use anyhow::{Context, Result, bail, ensure};
use chrono::{SecondsFormat, TimeDelta, Utc};
use rocketos_tests::fixture::{BOOT, Fixture, REPOSITORY, UPGRADE, VERSIONS};
use rocketos_tests::publisher::{CHANNEL, Publisher};
use rocketos_tests::{FleetLock, Guest, HOST_IN_GUEST, Progress};
use serde_json::Value;

/// Seconds until a release opens to anybody.
const CLOSED: u64 = 600;
/// The policy does not allow the image.
const NOT_ALLOWED: i32 = 77;
/// A setting is not what it has to be.
const REFUSED: i32 = 65;
/// Places in a curve: of 2048.
const FIRST: u32 = 0;
const LAST: u32 = 2047;
/// Where an image has its own.
const TRUST: &str = "/usr/lib/rocketos/trust";
/// Where the first root goes in the guest.
const ROOT: &str = "/run/root.json";

/// A publisher whose releases have a repository of their own, so that no signature stays in the fixture's.
struct Vendor {
    publisher: Publisher,
    repository: String,
}

impl Vendor {
    fn new(fixture: &Fixture) -> Result<Self> {
        let repository = format!("rocketos/vendor-{}", std::process::id());
        let publisher = Publisher::new(&fixture.scratch().join("vendor"), &fixture.registry, &repository)?;
        let (host, registry) = (fixture.registry.on_host(), &repository);
        for version in VERSIONS {
            let name = |repository: &str| format!("docker://{host}/{repository}:{version}");
            fixture
                .tools
                .run("skopeo")
                .args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
                .args([name(REPOSITORY), name(registry)])
                .quiet()
                .with_context(|| format!("copying {version}"))?;
        }
        let repository = format!("docker://{}/{repository}", fixture.registry.in_guest());
        Ok(Self { publisher, repository })
    }

    fn image(&self, version: &str) -> String {
        format!("{}:{version}", self.repository)
    }

    /// Drafts, signs and publishes with the keys of the beginning.
    fn says(&self, draft: &[&str]) -> Result<()> {
        self.publisher.publish(draft, &["releases"], "online")
    }
}

/// What a step of the node comes to, by its JSON.
fn step(guest: &mut Guest, command: &str) -> Result<Value> {
    let answer = guest.run(&format!("{command} --json 2>/run/said"), UPGRADE)?;
    let parsed = serde_json::from_str(answer.stdout.trim());
    if parsed.is_err() {
        let told = guest.ask("cat /run/said")?;
        bail!("{command} gave {}: {}{told}", answer.status, guest_said(&answer.stdout));
    }
    Ok(parsed?)
}

fn in_hours(hours: i64) -> String {
    (Utc::now() + TimeDelta::hours(hours)).to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn guest_said(text: &str) -> String {
    text.chars().take(2000).collect()
}

/// The command ends with this outcome.
fn expect(guest: &mut Guest, command: &str, outcome: &str, waits_for: Option<&str>) -> Result<()> {
    let said = step(guest, command)?;
    ensure!(said["outcome"] == outcome, "{command}: expected {outcome}: {said}\n{}", guest.ask("cat /run/said")?);
    let found = said["channel"]["says"]["waitsFor"].as_str();
    ensure!(found == waits_for, "{command}: expected to wait for {waits_for:?}: {said}");
    Ok(())
}

/// Follows the channel, and is told to wait: by its wave, by a halt.
fn waits(guest: &mut Guest, vendor: &Vendor) -> Result<()> {
    vendor.says(&["add", "--channel", CHANNEL, &vendor.image(VERSIONS[0])])?;
    guest.write_file(ROOT, &vendor.publisher.root()?)?;
    let switch = format!("rocketctl switch --channel {CHANNEL} --from {}", vendor.publisher.place());
    let refused = guest.run(&switch, UPGRADE)?;
    ensure!(refused.status == 1 && refused.stdout.contains("root.json"), "believed without a root: {}", refused.stdout);
    let refused = guest.run(&format!("{switch} --root /etc/os-release"), UPGRADE)?;
    ensure!(refused.status == 1, "a root that is none: {}", refused.stdout);
    expect(guest, &format!("{switch} --root {ROOT}"), "current", None)?;
    // As if the image had brought it.
    guest.ask(&format!("cp -r {TRUST} /run/trust && cp {ROOT} /run/trust/ && mount --bind /run/trust {TRUST}"))?;
    guest.ask("find /sysroot/state/rocketos/trust -name root.json -path '*/trust/*/root.json' | grep -q .")?;
    expect(guest, &switch, "current", None)?;
    let status = guest.ask("rocketctl status")?;
    ensure!(status.contains(&format!("follows: channel {CHANNEL} of {}", vendor.publisher.place())), "{status}");

    let curve = format!("[{{\"after\": 0, \"share\": 0}}, {{\"after\": {CLOSED}, \"share\": 1}}]");
    vendor.publisher.file("curve.json", &curve)?;
    let next = vendor.image(VERSIONS[1]);
    // Nobody's turn for a day, so that nothing here depends on how fast the machine is.
    let later = in_hours(24);
    vendor.says(&["add", "--channel", CHANNEL, &next, "--curve=curve.json", "--published", &later])?;
    expect(guest, "rocketctl upgrade", "waiting", Some("turn"))?;
    let status = guest.status()?;
    let said = &status["status"]["rocketos"]["channel"]["says"];
    ensure!(said["waitsFor"] == "turn" && said["turn"].as_str() > Some(&later), "{said}: not after {later}");
    vendor.says(&["halt", "--channel", CHANNEL, VERSIONS[1]])?;
    expect(guest, "rocketctl upgrade --now", "waiting", Some("halted"))?;
    vendor.says(&["resume", "--channel", CHANNEL, VERSIONS[1]])?;
    expect(guest, "rocketctl upgrade --check --now", "available", None)?;
    let told = guest.ask("journalctl --no-pager -q -o cat MESSAGE_ID=7e1f6c52b6a9473c8f2ad3b0c1d94e6a")?;
    ensure!(told.contains("before its turn, as --now asks"), "the journal has: {told}");
    Ok(())
}

/// Settings put it back on the channel, and give it its place in a curve.
fn is_told_by_settings(guest: &mut Guest, vendor: &Vendor) -> Result<()> {
    let shows = |guest: &mut Guest, wanted: &str| -> Result<()> {
        let status = guest.ask("rocketctl status")?;
        ensure!(status.contains(wanted), "status does not show '{wanted}': {status}");
        Ok(())
    };
    let image = vendor.image(VERSIONS[0]);
    guest.check(&format!("rocketctl switch {image}"), UPGRADE)?;
    shows(guest, &format!("image: {image}"))?;
    ensure!(!guest.ask("rocketctl status")?.contains("follows: "), "it still follows the channel");
    let place = vendor.publisher.place();
    let alone = guest.run(&format!("rocketctl settings set updates.channel={CHANNEL} 2>&1"), BOOT)?;
    ensure!(alone.status == REFUSED && alone.stdout.contains("from"), "a channel from nowhere: {}", alone.stdout);
    guest.check(
        &format!("rocketctl settings set updates.channel={CHANNEL} updates.from={place} updates.seed={LAST}"),
        BOOT,
    )?;
    // Half of the fleet has its turn since an hour.
    vendor.publisher.file("half.json", r#"[{"after": 0, "share": 0.5}, {"after": 604800, "share": 1}]"#)?;
    let since = in_hours(-1);
    vendor.says(&["open", "--channel", CHANNEL, VERSIONS[1], "--curve=half.json", "--published", &since])?;
    expect(guest, "rocketctl upgrade", "waiting", Some("turn"))?;
    shows(guest, &format!("follows: channel {CHANNEL} of {place}"))?;
    guest.check(&format!("rocketctl settings set updates.seed={FIRST}"), BOOT)?;
    expect(guest, "rocketctl upgrade --check", "available", None)?;
    guest.check(&format!("rocketctl settings set updates.seed={LAST} updates.ignore-waves=true"), BOOT)?;
    expect(guest, "rocketctl upgrade --check", "available", None)?;
    // What follows is decided by the last place.
    guest.check("rocketctl settings unset updates.ignore-waves", BOOT)?;
    expect(guest, "rocketctl upgrade --check", "waiting", Some("turn"))
}

/// By its timer's service the node takes the release in its wave, asks for the reboot lock, and reboots when it has it.
fn updates_itself(guest: &mut Guest, vendor: &Vendor, lock: &FleetLock) -> Result<()> {
    let schedule = format!("mode = \"apply\"\n[reboot-lock]\nurl = \"http://{HOST_IN_GUEST}:{}\"\n", lock.port());
    guest.write_file("/etc/rocketos/update.toml", schedule.as_bytes())?;
    guest.check("systemctl start rocketos-update.service", UPGRADE)?;
    ensure!(lock.asked().is_empty(), "before its turn the node asked for {:?}", lock.asked());
    // The same release, open to all; since an hour, for an emulated machine's clock may be behind.
    vendor.says(&["open", "--channel", CHANNEL, VERSIONS[1], "--published", &in_hours(-1)])?;
    guest.check("systemctl start rocketos-update.service", UPGRADE)?;
    let told = guest.ask("journalctl --no-pager -q -o cat -u rocketos-update.service")?;
    ensure!(lock.asked() == ["pre-reboot"] && told.contains("The reboot waits: another node reboots"), "{told}");
    let status = guest.ask("rocketctl status")?;
    ensure!(status.contains("staged: ") && status.contains("boots next"), "{status}");
    lock.grant();
    let before = guest.boot_id()?;
    // Its answer may be lost in the shutdown.
    drop(guest.run("systemctl start --no-block rocketos-update.service", BOOT));
    guest.wait_for_boot_after(&before, BOOT)?;
    guest.wait_booted(BOOT)?;
    ensure!(guest.release()? == VERSIONS[1], "{} runs", guest.release()?);
    guest.write_file("/etc/rocketos/update.toml", schedule.as_bytes())?;
    guest.check("systemctl start rocketos-update.service", UPGRADE)?;
    ensure!(lock.asked() == ["pre-reboot", "pre-reboot", "steady-state"], "the lock was asked {:?}", lock.asked());
    expect(guest, "rocketctl upgrade", "current", None)
}

/// The policy that demands a key of everything.
fn policy(key: &str) -> String {
    format!("[key.vendor]\npem = '''\n{key}'''\n[default]\naccept = \"signed\"\nkeys = [\"vendor\"]\n")
}

/// After a night off, in which every key changed and a policy came: the image's own accepts anything, this one does not.
fn catches_up(guest: &mut Guest, vendor: &Vendor) -> Result<()> {
    ensure!(guest.release()? == VERSIONS[0], "{} runs after the recall", guest.release()?);
    let answer = guest.run("rocketctl upgrade", UPGRADE)?;
    let parts = ["wants a signature by vendor, and no signature was found"];
    ensure!(
        answer.status == NOT_ALLOWED && parts.iter().all(|part| answer.stdout.contains(part)),
        "upgrade gave {}: {}",
        answer.status,
        answer.stdout
    );
    vendor.publisher.sign(&vendor.image(VERSIONS[2]), "image-2")?;
    expect(guest, "rocketctl upgrade", "staged", None)?;
    // Another key the day after: what is staged was judged by the one before, and a new look is judged by this one.
    guest.ask("rocketctl rollback")?;
    expect(guest, "rocketctl upgrade --check", "available", None)?;
    let key = vendor.publisher.key("image-3")?;
    vendor.publisher.file("policy.toml", &policy(&key))?;
    vendor.publisher.publish(&["policy", "policy.toml"], &["releases-2"], "online-2")?;
    let answer = guest.run("rocketctl upgrade --check", UPGRADE)?;
    ensure!(answer.status == NOT_ALLOWED, "a key that was rotated away still counts: {}", answer.stdout);
    vendor.publisher.sign(&vendor.image(VERSIONS[2]), "image-3")?;
    expect(guest, "rocketctl upgrade", "staged", None)
}

#[test]
fn a_node_follows_a_channel() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let vendor = progress.step("publishing", || Vendor::new(&fixture))?;
    let lock = FleetLock::start()?;
    let disk = fixture.disk("channel")?;
    let mut machine = fixture.machine("channel", &disk).start()?;
    let mut guest = progress.step("first boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    progress.step("waiting for its turn, and a halt", || waits(&mut guest, &vendor))?;
    progress.step("settings that say what it follows, and its place", || is_told_by_settings(&mut guest, &vendor))?;
    progress.step("an upgrade by itself", || updates_itself(&mut guest, &vendor, &lock))?;

    vendor.says(&["recall", "--channel", CHANNEL, VERSIONS[1], "--reason", "it eats disks"])?;
    let said = step(&mut guest, "rocketctl upgrade")?;
    ensure!(said["outcome"] == "staged" && said["channel"]["says"]["recalled"] == "it eats disks", "{said}");
    ensure!(said["channel"]["says"]["release"]["version"] == VERSIONS[0], "{said}");
    guest.ask("sync")?;
    machine.cut_power()?;

    progress.step("keys rotate while the node is off", || -> Result<()> {
        let publisher = &vendor.publisher;
        for (role, old, new) in [
            ("timestamp", "online", "online-2"),
            ("snapshot", "online", "online-2"),
            ("targets", "releases", "releases-2"),
            ("root", "root", "root-2"),
        ] {
            if role != "snapshot" {
                publisher.key(new)?;
            }
            let add = format!("--add={new}.pub");
            publisher.release(&["rotate-keys", "--dir=desk", "--role", role, "--remove", old, &add])?;
        }
        let key = publisher.key("image-2")?;
        publisher.file("policy.toml", &policy(&key))?;
        publisher.release(&["policy", "--dir=desk", "policy.toml"])?;
        let add = ["add", "--channel", CHANNEL, &vendor.image(VERSIONS[2])];
        publisher.publish(&add, &["root", "root-2", "releases-2"], "online-2")
    })?;
    let mut machine = fixture.machine("channel", &disk).start()?;
    let mut guest = progress.step("boot after the recall", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    progress.step("catching up", || catches_up(&mut guest, &vendor))?;
    guest.is_refused_nothing()?;
    machine.cut_power()
}

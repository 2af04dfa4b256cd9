//! What a node finds out, whom it trusts, whom it tells, which version it takes, and how much root may do to its kernel: the parts of a
//! node that settings have beside its services.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use openssl::base64::encode_block;
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Guest, HOST_IN_GUEST};
use serde_json::Value;

use crate::certificate;

/// What a request may take that somebody waits for.
const ANSWER: Duration = Duration::from_secs(120);
/// What tells.
const METRICS: &str = "rocketos-metrics.service";
/// Where the kernel says how much root may do to it.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Somebody who is told over HTTPS, by a certificate that nobody vouches for but itself.
struct Hears {
    port: u16,
    /// It, as settings take it.
    certificate: String,
    /// What was asked for, one request after the other.
    asked: mpsc::Receiver<String>,
}

impl Hears {
    /// Listens until the test's process ends.
    fn start() -> Result<Self> {
        let presented = certificate::for_address(HOST_IN_GUEST)?;
        let (certificate, acceptor) = (encode_block(&presented.pem()?), presented.acceptor()?);
        let listener = TcpListener::bind("127.0.0.1:0").context("listening")?;
        let port = listener.local_addr()?.port();
        let (says, asked) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who does not believe the certificate says nothing.
                let Ok(mut stream) = acceptor.accept(stream) else { continue };
                let mut first = String::new();
                let mut reader = BufReader::new(&mut stream);
                if reader.read_line(&mut first).is_err() {
                    continue;
                }
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                    line.clear();
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.shutdown();
                if says.send(first).is_err() {
                    return;
                }
            }
        });
        Ok(Self { port, certificate, asked })
    }

    fn next(&self) -> Result<String> {
        self.asked.recv_timeout(ANSWER).context("nobody asked for anything")
    }
}

/// It tells over HTTPS whom settings name, as soon as settings say that the certificate counts, and not without that.
pub fn tells_whom_it_trusts(guest: &mut Guest) -> Result<()> {
    let hears = Hears::start()?;
    let tell = format!("systemctl start {METRICS}");
    let url = format!("https://{HOST_IN_GUEST}:{}/v1", hears.port);
    guest.check(
        &format!(
            "rocketctl settings set metrics.send-metrics=true metrics.metrics-url={url} \
             'metrics.service-checks=[\"systemd-journald.service\", \"emergency.service\"]' && \
             systemctl is-active rocketos-metrics.timer"
        ),
        BOOT,
    )?;
    // The run that is judged is the one that was just made, by its own number.
    let distrusts = |guest: &mut Guest, when: &str| -> Result<()> {
        let run = guest.run(&tell, BOOT)?;
        ensure!(!run.success(), "{when} it told a stranger");
        let said = guest.check(
            &format!(
                "journalctl --no-pager -o cat -u {METRICS} \
                 _SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value {METRICS})"
            ),
            BOOT,
        )?;
        ensure!(said.contains("certificate"), "{when} it fails for another reason: {said}");
        Ok(())
    };
    distrusts(guest, "before")?;
    let trust = format!("rocketctl settings set pki.test.trusted=true pki.test.data={}", hears.certificate);
    guest.check(&trust, BOOT)?;
    guest.check(&tell, BOOT)?;
    let (first, second) = (hears.next()?, hears.next()?);
    let version = format!("version={}", VERSIONS[0]);
    for part in ["GET /v1?sender=rocketctl&event=boot_success&", &version, "variant=dev"] {
        ensure!(first.contains(part), "it told {first}, without '{part}'");
    }
    for part in ["event=health_ping&", "failed_services=emergency.service", "is_healthy=false"] {
        ensure!(second.contains(part), "it told {second}, without '{part}'");
    }
    guest.check("rocketctl settings unset pki.test", BOOT)?;
    distrusts(guest, "afterwards")?;
    guest.check("rocketctl settings unset metrics", BOOT).map(drop)
}

/// What it finds out is shown beneath what is set, and by nobody set.
pub fn finds_out(guest: &mut Guest) -> Result<()> {
    let shown: Value = serde_json::from_str(&guest.check("rocketctl settings get --json", BOOT)?)?;
    let facts = &shown["settings"]["facts"];
    let address = |wanted: &str| facts["addresses"].as_array().is_some_and(|all| all.iter().any(|one| one == wanted));
    ensure!(facts["hostname"] == guest.ask("cat /proc/sys/kernel/hostname")?, "facts are {facts}");
    ensure!(address("10.0.2.15") && facts["instance"].is_string() && facts["vendor"] == "QEMU", "facts are {facts}");
    let answer = guest.run("rocketctl settings set facts.hostname=other 2>&1", BOOT)?;
    ensure!(answer.status == 65, "a fact was set: {}", answer.stdout);
    Ok(())
}

/// It takes no other version than the one that settings name.
pub fn keeps_to_its_version(guest: &mut Guest, fixture: &Fixture) -> Result<()> {
    fixture.tag(VERSIONS[1])?;
    guest.check(&format!("rocketctl settings set updates.version-lock={}", VERSIONS[0]), BOOT)?;
    let said = guest.check("rocketctl upgrade", UPGRADE)?;
    ensure!(said.contains("version-lock"), "an upgrade says {said}");
    ensure!(guest.status()?["status"]["staged"].is_null(), "another version was staged");
    guest.check("rocketctl settings unset updates.version-lock", BOOT).map(drop)
}

/// Root may do less to the kernel, at once, and never more again until the next boot.
pub fn raises_its_lockdown(guest: &mut Guest) -> Result<()> {
    guest.check("rocketctl settings set kernel.lockdown=confidentiality", BOOT)?;
    let has = guest.ask(&format!("cat {LOCKDOWN}"))?;
    ensure!(has.contains("[confidentiality]"), "the kernel has {has}");
    let answer = guest.run("rocketctl settings set kernel.lockdown=integrity 2>&1", BOOT)?;
    ensure!(!answer.success() && answer.stdout.contains("never falls"), "it fell: {}", answer.stdout);
    // The settings say the same as before, and who unsets them waits for the next boot.
    let kept = guest.check("rocketctl settings get kernel.lockdown", BOOT)?;
    ensure!(kept.contains("confidentiality"), "settings say {kept}");
    guest.check("rocketctl settings unset kernel.lockdown", BOOT).map(drop)
}

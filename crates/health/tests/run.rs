//! Checks against real servers, file systems and programs; units are a table.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rocketos_health::{Check, Ended, Outcome, Programs, Report, load, look};

/// Units by what they are at each look, and real programs; one host container, `here`, which has the programs of this machine.
#[derive(Default)]
struct Node {
    units: Mutex<BTreeMap<String, Vec<&'static str>>>,
}

impl Programs for Node {
    async fn unit_state(&self, unit: &str) -> Result<String, String> {
        let mut units = self.units.lock().unwrap();
        let states = units.get_mut(unit).ok_or_else(|| format!("nobody knows {unit}"))?;
        Ok(if states.len() > 1 { states.remove(0) } else { states[0] }.to_owned())
    }

    async fn look(&self, check: &Check) -> Result<Outcome, String> {
        Ok(look(check).await)
    }

    async fn run(&self, command: &[String], _limit: Duration) -> Result<Ended, String> {
        let mut program = tokio::process::Command::new(&command[0]);
        let output =
            program.args(&command[1..]).kill_on_drop(true).output().await.map_err(|error| error.to_string())?;
        Ok(Ended { success: output.status.success(), words: output.status.to_string() })
    }

    async fn run_in(&self, container: &str, command: &[String], limit: Duration) -> Result<Ended, String> {
        // Counted like a unit's looks.
        match self.unit_state(container).await?.as_str() {
            "active" => self.run(command, limit).await,
            other => Err(format!("it is {other}")),
        }
    }
}

/// Makes these checks; `units` are states of units, one for each look, the last for good.
fn made(checks: &[(&str, &str)], units: &[(&str, &[&'static str])]) -> Report {
    looked(checks, units, false)
}

/// The same, as a boot does it or not.
fn looked(checks: &[(&str, &str)], units: &[(&str, &[&'static str])], at_boot: bool) -> Report {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("etc/rocketos/health.d");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in checks {
        fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }
    let units = units.iter().map(|(name, states)| ((*name).to_owned(), states.to_vec())).collect();
    let node = Arc::new(Node { units: Mutex::new(units) });
    let suite = load(root.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match at_boot {
            true => suite.run_at_boot(&node).await,
            false => suite.run(&node).await,
        }
    })
}

/// What one required check comes to.
fn one(text: &str) -> Outcome {
    made(&[("one", &format!("level = 'required'\n{text}"))], &[]).checks.remove(0).outcome
}

fn failed(text: &str, says: &str) {
    match one(text) {
        Outcome::Failed(reason) => assert!(reason.contains(says), "{text}: {reason}"),
        other => panic!("{text}: {other:?}"),
    }
}

/// A server that answers everybody alike.
fn serve(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn looks_at_servers() {
    let address = serve("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nhealthy");
    assert_eq!(one(&format!("kind = 'http'\nurl = 'http://{address}/'\nbody = 'health'")), Outcome::Passed);
    assert_eq!(one(&format!("kind = 'tcp'\naddress = '{address}'")), Outcome::Passed);
    failed(&format!("kind = 'http'\nurl = 'http://{address}/'\nbody = 'sick'"), "does not have 'sick'");
    failed(&format!("kind = 'http'\nurl = 'http://{address}/'\nstatus = 204"), "answers 200, not 204");
    failed("kind = 'http'\nurl = 'http://127.0.0.1:1/'", "refused");
    failed("kind = 'tcp'\naddress = '127.0.0.1:1'", "refused");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    failed(&format!("kind = 'http'\nurl = 'http://{silent}/'\ntimeout = '1s'"), "");
}

#[test]
fn looks_at_file_systems_names_and_programs() {
    assert_eq!(one("kind = 'mount'\npath = '/dev/shm'"), Outcome::Passed);
    failed("kind = 'mount'\npath = '/dev/shm'\nfree = '900T'", "bytes free");
    failed("kind = 'mount'\npath = '/usr/bin'", "nothing is mounted");
    failed("kind = 'mount'\npath = '/absent'", "/absent");
    assert_eq!(one("kind = 'resolve'\nname = 'localhost'"), Outcome::Passed);
    failed("kind = 'resolve'\nname = 'absent.invalid'", "absent.invalid");
    assert_eq!(one("kind = 'command'\ncommand = ['/bin/true']"), Outcome::Passed);
    failed("kind = 'command'\ncommand = ['/bin/sh', '-c', 'exit 3']", "exit status: 3");
    assert!(matches!(one("kind = 'command'\ncommand = ['/absent']"), Outcome::NotRun(_)));
    if !Path::new("/run/systemd/timesync/synchronized").exists() {
        failed("kind = 'time-synchronised'", "not synchronised");
    }
}

#[test]
fn a_boot_waits_for_no_host_container() {
    let check = |command: &str, more: &str| {
        format!("level = 'wanted'\nkind = 'host-container'\ncontainer = 'here'\ncommand = {command}\n{more}")
    };
    let outcome = |text: &str, states: &[&'static str], at_boot| {
        looked(&[("one", text)], &[("here", states)], at_boot).checks.remove(0).outcome
    };
    let patient = "retries = 1000\ninterval = '1h'\ndelay = '1h'\ntimeout = '1h'";
    let began = Instant::now();
    assert_eq!(outcome(&check("['/bin/true']", patient), &["active"], true), Outcome::Passed);
    assert!(matches!(outcome(&check("['/bin/false']", patient), &["active"], true), Outcome::Failed(_)));
    // One that does not run is not waited for by anybody.
    let absent = Outcome::NotRun("it is activating".to_owned());
    assert_eq!(outcome(&check("['/bin/true']", patient), &["activating"], true), absent);
    let hours = "retries = 1000\ninterval = '1h'";
    assert_eq!(outcome(&check("['/bin/true']", hours), &["activating", "active"], false), absent);
    assert!(began.elapsed() < Duration::from_secs(60));
    // Whoever asks has time.
    let marked = tempfile::tempdir().unwrap();
    let marker = marked.path().join("marker").display().to_string();
    let second = format!("['/bin/sh', '-c', 'test -e {marker} || {{ touch {marker}; exit 3; }}']");
    assert_eq!(outcome(&check(&second, "retries = 1\ninterval = '10ms'"), &["active"], false), Outcome::Passed);
    // Nothing of it counts for a release, nor does a node with one that never comes.
    let report = looked(&[("one", &check("['/bin/false']", ""))], &[("here", &["failed"])], true);
    assert!(report.is_good());
    let required = check("['/bin/true']", "").replace("wanted", "required");
    let refused = looked(&[("one", &required)], &[("here", &["active"])], true);
    assert!(refused.reason().contains("is 'wanted'"), "{}", refused.reason());
}

#[test]
fn tries_again_as_often_as_it_is_told_to() {
    let check = |retries: u32| {
        let text = format!("level = 'required'\nkind = 'unit'\nunit = 'a'\nretries = {retries}\ninterval = '10ms'");
        made(&[("a", &text)], &[("a", &["activating", "activating", "active"])])
    };
    assert_eq!(check(1).reason(), "a (required) failed: a is activating, not active");
    assert!(check(2).is_good());
    let began = Instant::now();
    failed("kind = 'command'\ncommand = ['/bin/sleep', '60']\ntimeout = '200ms'", "nothing within 0 s");
    assert!(began.elapsed() < Duration::from_secs(30), "it waited for the program");
}

#[test]
fn waits_for_what_comes_before() {
    let unit = |more: &str| format!("level = 'required'\nkind = 'unit'\n{more}");
    let report = made(
        &[
            ("a", &unit("unit = 'a'\nretries = 3\ninterval = '50ms'")),
            ("b", &unit("unit = 'b'\nafter = ['a']")),
            ("c", &unit("unit = 'c'")),
            ("d", &unit("unit = 'a'\nafter = ['c']").replace("required", "wanted")),
            ("e", &unit("unit = 'a'\nafter = ['absent']")),
            ("f", &unit("unit = 'a'\nafter = ['g']")),
            ("g", &unit("unit = 'a'\nafter = ['f']")),
            ("h", &unit("unit = 'unknown'")),
            ("i", "nothing"),
        ],
        &[("a", &["activating", "active"]), ("b", &["active"]), ("c", &["failed"])],
    );
    let outcome = |name: &str| {
        let found = report.checks.iter().find(|check| check.name == name).unwrap();
        match &found.outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed(reason) => format!("failed: {reason}"),
            Outcome::NotRun(reason) => format!("not run: {reason}"),
        }
    };
    assert_eq!((outcome("a").as_str(), outcome("b").as_str()), ("passed", "passed"));
    assert_eq!(outcome("c"), "failed: c is failed, not active");
    assert_eq!(outcome("d"), "not run: it comes after c, which did not pass");
    assert!(outcome("e").contains("no such check"), "{}", outcome("e"));
    for name in ["f", "g"] {
        assert!(outcome(name).contains("after itself"), "{}", outcome(name));
    }
    assert_eq!(outcome("h"), "not run: nobody knows unknown");
    assert!(outcome("i").contains("i.toml"), "{}", outcome("i"));
    let missed: Vec<_> = report.missed().map(|check| check.name.as_str()).collect();
    assert_eq!(missed, ["c", "e", "f", "g", "h", "i"], "what is wanted alone makes nothing bad");
}

//! The service does what its description says: Schemathesis makes requests of the description, right and wrong ones, and judges
//! what is answered. It speaks TCP alone, so that a bridge on loopback stands before the socket, in this test and nowhere else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use support::{Lets, QUICK, Served};

/// Requests of an operation in each phase.
const EXAMPLES: &str = "25";
/// The same requests every time: what fails today fails tomorrow.
const SEED: &str = "6";

/// Passes on what comes on a port of loopback; returns where.
fn bridge(socket: PathBuf) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for outside in listener.incoming().flatten() {
            let socket = socket.clone();
            thread::spawn(move || join(outside, &socket));
        }
    });
    format!("http://{address}")
}

fn join(mut outside: TcpStream, socket: &Path) -> io::Result<()> {
    let mut inside = UnixStream::connect(socket)?;
    let (mut from, mut to) = (outside.try_clone()?, inside.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
        copied
    });
    let copied = io::copy(&mut inside, &mut outside);
    let _ = outside.shutdown(Shutdown::Both);
    copied.map(drop)
}

/// Runs it on the committed description.
fn schemathesis(node: &Served, choice: &[&str]) {
    let url = bridge(node.socket());
    let description = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis.toml");
    let output = Command::new("schemathesis")
        .arg("--config-file")
        .arg(config)
        .args(["run", "--url", &url, "--no-color", "--checks", "all", "--max-examples", EXAMPLES, "--seed", SEED])
        .args(choice)
        .arg(description)
        .current_dir(node.folder.path())
        .output()
        .expect("this test needs the program schemathesis: 'cargo xtask test units' brings it");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(" generated, ") && !said.contains(" 0 generated"), "nothing was judged: {said}");
    println!("{said}");
}

#[test]
fn every_answer_is_as_described_to_requests_right_and_wrong() {
    let node = Served::start(Lets::all(), QUICK);
    // A stream has no end; once settings are locked nothing else of them is seen; a commit is below.
    schemathesis(
        &node,
        &[
            "--exclude-operation-id",
            "listen",
            "--exclude-operation-id",
            "lockSettings",
            "--exclude-operation-id",
            "commitTransaction",
            // What is asked for well is answered by a program.
            "--exclude-operation-id",
            "exec",
        ],
    );
    assert!(node.store().current().unwrap().generation.number > 0, "no change was made");
}

#[test]
fn the_same_of_transactions_that_are_committed() {
    let node = Served::start(Lets::all(), QUICK);
    // That a commit ends what was opened is no fault.
    let choice = ["--include-path-regex", "^/v1/transactions", "--exclude-checks", "ensure_resource_availability"];
    schemathesis(&node, &choice);
    assert!(node.store().current().unwrap().generation.number > 0, "nothing was committed");
}

#[test]
fn the_same_of_settings_that_are_locked() {
    let node = Served::start(Lets::all(), QUICK);
    assert_eq!(node.ask("POST", "/v1/settings/lock", None).status, 200);
    schemathesis(&node, &["--include-path-regex", "^/v1/settings"]);
    assert_eq!(node.store().current().unwrap().generation.number, 0);
}

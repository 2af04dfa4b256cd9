//! What `rocketctl` says on a machine that is no node.

use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use rocketos_tests::command::Run;
use rocketos_tests::paths;
use rocketos_tests::registry::free_port;
use serde_json::Value;

use crate::layout::Fault;

/// Runs the program, which is compiled first.
fn rocketctl(args: &[&str]) -> Result<Output> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let build = || Run::new("cargo").args(["build", "-p", "rocketctl"]).limit(LIMIT).quiet().map_err(|e| e.to_string());
    BUILT.get_or_init(build).clone().map_err(anyhow::Error::msg).context("compiling rocketctl")?;
    Command::new(paths::target().join("debug/rocketctl")).args(args).output().context("starting rocketctl")
}

/// What compiling may take.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(900);

/// The command fails with a code and one line that has all of `parts`.
fn refuses(args: &[&str], code: i32, parts: &[&str]) -> Result<()> {
    let output = rocketctl(args)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "{args:?} ended with {}: {said}", output.status);
    ensure!(output.stdout.is_empty(), "{args:?} wrote to standard output");
    ensure!(said.starts_with("rocketctl: ") && said.lines().count() == 1, "{args:?}: {said}");
    for part in parts {
        ensure!(said.contains(part), "{args:?} does not say '{part}': {said}");
    }
    Ok(())
}

fn text(args: &[&str]) -> Result<String> {
    let output = rocketctl(args)?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("output that is no text")
}

#[test]
fn every_verb_has_help() -> Result<()> {
    let help = text(&["--help"])?;
    for verb in [
        "install", "upgrade", "switch", "rollback", "status", "pin", "unpin", "prune", "scrub", "verify", "image",
        "release",
    ] {
        ensure!(help.contains(&format!("\n  {verb}")), "--help does not list {verb}:\n{help}");
        ensure!(text(&[verb, "--help"])?.contains("Usage: rocketctl"), "{verb} has no help");
    }
    ensure!(!help.contains("internal"), "units' verbs are shown:\n{help}");
    for code in [1, 2, 65, 69, 73, 74, 75, 77] {
        ensure!(help.contains(&format!("{code} ")), "--help does not explain exit code {code}");
    }
    for (verb, flags) in [
        ("upgrade", &["--check", "--download-only", "--from-downloaded", "--apply", "--progress-fd", "--quiet"][..]),
        ("switch", &["--transport", "--apply", "--retain"]),
        ("status", &["--json", "--format", "--format-version", "--booted"]),
        ("rollback", &["--to", "--apply"]),
        ("scrub", &["--no-repair", "--rate", "--apply", "--json"]),
        ("verify", &["--full", "--offline", "--json"]),
    ] {
        let help = text(&[verb, "--help"])?;
        for flag in flags {
            ensure!(help.contains(flag), "{verb} lacks {flag}:\n{help}");
        }
    }
    Ok(())
}

#[test]
fn completes_in_three_shells() -> Result<()> {
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef rocketctl"), ("fish", "complete -c rocketctl")] {
        let script = text(&["completions", shell])?;
        ensure!(script.contains(mark) && script.contains("upgrade"), "{shell}: {script}");
    }
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), text(&["completions", "bash"])?)?;
    Run::new("bash").arg("-n").arg(script.path()).quiet().context("bash does not read its completions")
}

#[test]
fn writes_a_manual_page_per_verb() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("man1").display().to_string();
    text(&["man", &path])?;
    for page in ["rocketctl", "rocketctl-upgrade", "rocketctl-install-to-disk", "rocketctl-image-lint"] {
        let text = std::fs::read_to_string(folder.path().join(format!("man1/{page}.1")))?;
        ensure!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    Ok(())
}

#[test]
fn wrong_usage_ends_with_two() -> Result<()> {
    for args in [&["frobnicate"][..], &["upgrade", "--check", "--apply"], &["status", "--format-version=9"], &["pin"]] {
        let output = rocketctl(args)?;
        ensure!(output.status.code() == Some(2), "{args:?} ended with {}", output.status);
        ensure!(!output.stderr.is_empty(), "{args:?} says nothing");
    }
    Ok(())
}

#[test]
fn says_that_this_is_no_node() -> Result<()> {
    for verb in [
        &["status"][..],
        &["upgrade"],
        &["rollback"],
        &["prune"],
        &["scrub"],
        &["verify"],
        &["pin", "ab"],
        &["unpin", "ab"],
    ] {
        refuses(verb, 1, &["this machine was not booted from Rocket OS", "'rocketctl install'"])?;
    }
    Ok(())
}

#[test]
fn says_what_is_wrong_with_a_reference() -> Result<()> {
    let known = "known are docker://, oci:, oci-archive: and containers-storage:";
    refuses(&["image", "inspect", "frob:x"], 1, &["'frob' is an unknown transport", known])?;
    refuses(&["switch", "frob:x"], 1, &["'frob' is an unknown transport", known])?;
    refuses(&["switch", "--transport", "frob", "a.b/c"], 1, &["'frob' is an unknown transport", known])?;
    refuses(&["image", "inspect", "nodots/name"], 1, &["'nodots' is not a registry's name", "registry.example/name"])?;
    refuses(&["image", "inspect", "a.b/Upper"], 1, &["'Upper' is not a repository's name", "lower-case"])?;
    refuses(&["image", "inspect", "a.b/c:!"], 1, &["'!' is not a tag"])?;
    refuses(&["image", "inspect", "a.b/c@sha256:0"], 1, &["the digest behind '@' is malformed"])
}

#[test]
fn says_that_a_registry_does_not_answer() -> Result<()> {
    // Nobody listens on a port that was free a moment ago.
    let port = free_port()?;
    let reference = format!("docker://127.0.0.1:{port}/rocketos/dev:stable");
    let parts = [&format!("resolving {reference}"), &format!("registry 127.0.0.1:{port} is unreachable"), "refused"];
    refuses(&["image", "inspect", &reference], 69, &parts.map(|part| part as &str))
}

#[test]
fn says_which_file_is_not_there() -> Result<()> {
    for transport in ["oci", "oci-archive"] {
        let reference = format!("{transport}:/nowhere/image");
        refuses(&["image", "inspect", &reference], 1, &[&reference, "No such file or directory"])?;
    }
    Ok(())
}

#[test]
fn names_the_digest_of_what_was_altered() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (fault, name, _, _) in Fault::ALL {
        let path = folder.path().join(name);
        fault.write(&path)?;
        let reference = format!("oci:{}", path.display());
        match fault {
            Fault::AlteredConfig | Fault::AlteredManifest => {
                refuses(&["image", "inspect", &reference], 65, &["resolving oci:", "sha256:"])?;
            }
            Fault::Architecture => {
                refuses(&["image", "inspect", &reference], 65, &["is for linux/arm64, this machine is linux/amd64"])?;
            }
            _ => {
                let facts: Value = serde_json::from_str(&text(&["image", "inspect", "--json", &reference])?)?;
                ensure!(facts["bootable"] == (fault != Fault::NotBootable), "{name}: {facts}");
            }
        }
    }
    Ok(())
}

#[test]
fn refuses_what_is_no_disk() -> Result<()> {
    let install = |device| ["install", "to-disk", "--source-imgref", "oci:/nowhere", device];
    refuses(&install("/dev/absent"), 1, &["there is no /dev/absent", "'lsblk --nodeps' lists the disks"])?;
    for device in ["/etc/passwd", "/dev/null", "/"] {
        refuses(&install(device), 1, &[&format!("{device} is not a block device"), "lists the disks"])?;
    }
    refuses(&["install", "to-disk", "/dev/absent"], 1, &["/run/.containerenv is not there", "--source-imgref"])
}

#[test]
fn simulates_a_fleet() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let file = |name: &str| scratch.path().join(name).display().to_string();
    let (curve, plot) = (file("curve.json"), file("fleet.svg"));
    std::fs::write(&curve, r#"[{"after": 0, "share": 0.5}, {"after": 3600, "share": 1}]"#)?;
    let simulate = ["release", "simulate", "--nodes", "1000", "--poll", "10m", "--failing", "0.1", "--curve"];
    let answer = text(&[&simulate[..], &[&curve, "--json", "--svg", &plot]].concat())?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let last = answer["moments"].as_array().and_then(|moments| moments.last()).context("no moment")?;
    ensure!(
        last["took"] == 1000 && last["failed"].as_u64().is_some_and(|failed| (50..150).contains(&failed)),
        "{last}"
    );
    ensure!(std::fs::read_to_string(&plot)?.contains("<polyline"), "the plot is empty");
    std::fs::write(&curve, r#"[{"after": 0, "share": 2}]"#)?;
    refuses(&[&simulate[..], &[&curve]].concat(), 1, &["is no curve", "2 is not a share"])
}

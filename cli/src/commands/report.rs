//! `report`.

use std::{
    fs::File,
    io::Write as _,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use rocketos_api::Node as _;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, open},
    io::Errno,
};

use crate::{
    api::{Client, NoApi, ThisNode},
    args::{Report, ReportBoot, ReportLogs},
    report,
    report::logs::{self, Manifest, Outcome},
};

/// Draws or takes what was asked for.
pub fn run(verb: &Report) -> anyhow::Result<()> {
    match verb {
        Report::Boot(args) => boot(args),
        Report::Logs(args) => take_logs(args),
    }
}

fn boot(ReportBoot { boot, output, json }: &ReportBoot) -> anyhow::Result<()> {
    let boot = report::boot(*boot)?;
    if *json {
        println!("{}", boot.document().context("writing the numbers")?);
        return Ok(());
    }
    let picture = report::picture(&boot);
    match output {
        Some(file) => std::fs::write(file, picture).with_context(|| format!("writing {}", file.display())),
        None => {
            print!("{picture}");
            Ok(())
        }
    }
}

fn take_logs(ReportLogs { output, json, asked }: &ReportLogs) -> anyhow::Result<()> {
    let reply = Client::at(&asked.socket)?.ask("GET", "/v1/reports/logs", None, None);
    let packed = match reply {
        // A report is wanted most where something does not come up: the API may be that.
        Err(error) if error.is::<NoApi>() => ThisNode::default().logs().context("taking the report without the API")?,
        other => other?.bytes()?,
    };
    let manifest = logs::manifest(&packed)?;
    let file = match output {
        Some(file) if file == Path::new("-") => None,
        Some(file) => Some(file.clone()),
        None => Some(logs::usual_name(manifest.taken)),
    };
    match &file {
        Some(file) => write_new(file, &packed)?,
        None => {
            let mut out = std::io::stdout().lock();
            out.write_all(&packed).and_then(|()| out.flush()).context("writing to standard output")?;
        }
    }
    let words = match json {
        true => serde_json::to_string(&manifest).context("writing the manifest")?,
        false => words(&manifest, file.as_ref()),
    };
    match file {
        Some(_) => println!("{words}"),
        // The archive is on standard output.
        None => eprintln!("{words}"),
    }
    Ok(())
}

/// Writes a file that was not there, whole or not at all: it has no name until it is.
fn write_new(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let doing = || format!("writing {}", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let nameless = match open(folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            bail!("{} is on a file system without files that have no name yet: take '--output -'", folder.display())
        }
        other => other.with_context(doing)?,
    };
    let mut nameless = File::from(nameless);
    nameless.write_all(bytes).and_then(|()| nameless.sync_all()).with_context(doing)?;
    let held = format!("/proc/self/fd/{}", nameless.as_raw_fd());
    linkat(CWD, held, CWD, file, AtFlags::SYMLINK_FOLLOW).with_context(doing)
}

fn words(manifest: &Manifest, file: Option<&PathBuf>) -> String {
    let count = |outcome| manifest.entries.iter().filter(|entry| entry.outcome == outcome).count();
    let withheld: usize = manifest.entries.iter().map(|entry| entry.withheld).sum();
    let mut text = format!(
        "{}: {} taken, {} truncated, {} absent, {} failed; {withheld} secrets taken out.",
        file.map_or("The report".into(), |file| file.display().to_string()),
        count(Outcome::Taken),
        count(Outcome::Truncated),
        count(Outcome::Absent),
        count(Outcome::Failed),
    );
    for entry in manifest.entries.iter().filter(|entry| entry.outcome == Outcome::Failed) {
        text.push_str(&format!("\nfailed: {}: {}", entry.what, entry.why.as_deref().unwrap_or("nobody said why")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_takes_nothing_from_anybody_and_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar.gz");
        write_new(&file, b"one").unwrap();
        let error = write_new(&file, b"two").unwrap_err();
        assert!(error.to_string().contains("a.tar.gz"), "{error:#}");
        assert_eq!(std::fs::read(&file).unwrap(), b"one");
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left of what was refused");
    }
}

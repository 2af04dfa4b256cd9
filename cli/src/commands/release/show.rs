//! `release show`: what a channel says, after everything a node would check.

use std::fs;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use rocketos_trust::tuf::State;
use rocketos_update::{Channel, Release};
use serde_json::json;

use crate::{
    args::Show,
    channel::{self, Published},
    pull::Puller,
};

/// Does it.
pub fn run(args: &Show) -> anyhow::Result<()> {
    ensure!(Channel::is_name(&args.channel), "'{}' is not a channel's name", args.channel);
    let place = args.from.parse()?;
    let root = fs::read(&args.root).with_context(|| format!("reading {}", args.root.display()))?;
    let puller = Puller::new()?;
    // Nothing is remembered: who only looks holds the channel to nothing it said before.
    let scratch = tempfile::tempdir().context("making a directory for metadata")?;
    let state = State::open(scratch.path())?;
    let published = puller.wait(channel::read(puller.reader(), &place, &args.channel, state, Some(&root)))?;
    match args.json {
        true => println!("{:#}", document(&published)),
        false => print(&published),
    }
    Ok(())
}

fn date(time: impl Into<DateTime<Utc>>) -> String {
    time.into().to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn document(published: &Published) -> serde_json::Value {
    json!({
        "rootVersion": published.root,
        "timestampVersion": published.timestamp,
        "expires": date(published.expires),
        "document": published.channel,
    })
}

fn print(published: &Published) {
    let Published { channel, root, timestamp, expires } = published;
    println!("Channel {}: root {root}, timestamp {timestamp}, expires {}.", channel.channel, date(*expires));
    let mut releases: Vec<_> = channel.releases.iter().collect();
    releases.sort_by(|a, b| b.version.cmp(&a.version));
    for release in releases {
        println!("  {} {} {}: {}", release.version, release.variant, release.architecture, state(release));
        println!("    {}@{}", release.image, release.digest);
        if let Some(earliest) = &release.earliest {
            println!("    from {earliest} on");
        }
        if let Some(notes) = &release.notes {
            println!("    {notes}");
        }
    }
}

fn state(release: &Release) -> String {
    match (&release.recalled, release.halted) {
        (Some(reason), _) => format!("recalled: {reason}"),
        (None, true) => "halted".to_owned(),
        (None, false) => {
            let open = release.curve.share(Utc::now() - release.published) * 100.0;
            format!("open to {open:.1} % since {}", date(release.published))
        }
    }
}

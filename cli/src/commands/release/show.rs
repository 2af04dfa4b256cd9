//! `release show`: what a channel says, after everything a node would check.

use std::fs;

use anyhow::Context as _;
use chrono::Utc;
use rocketos_trust::tuf::State;
use rocketos_update::Release;
use serde_json::json;

use crate::{
    args::Show,
    channel::{self, Published, date},
    pull::Puller,
};

/// Does it.
pub fn run(args: &Show) -> anyhow::Result<()> {
    let followed = channel::followed(&args.channel, &args.from)?;
    let root = fs::read(&args.root).with_context(|| format!("reading {}", args.root.display()))?;
    let puller = Puller::new()?;
    // Nothing is remembered: who only looks holds the channel to nothing it said before.
    let scratch = tempfile::tempdir().context("making a directory for metadata")?;
    let state = State::open(scratch.path())?;
    let published = puller.wait(channel::read(puller.reader(), &followed, state, Some(&root)))?;
    match args.json {
        true => println!("{:#}", document(&published)),
        false => print(&published),
    }
    Ok(())
}

fn document(published: &Published) -> serde_json::Value {
    json!({
        "rootVersion": published.root,
        "timestampVersion": published.documents.timestamp,
        "expires": date(published.documents.expires),
        "document": published.documents.channel,
    })
}

fn print(published: &Published) {
    let Published { documents, root, doubt } = published;
    let (channel, timestamp) = (&documents.channel, documents.timestamp);
    if let Some(doubt) = doubt {
        eprintln!("{doubt}");
    }
    println!("Channel {}: root {root}, timestamp {timestamp}, expires {}.", channel.channel, date(documents.expires));
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

//! `release publish`.

use std::time::SystemTime;

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use rocketos_model::Place;
use rocketos_trust::{
    Signer,
    tuf::{
        Transport,
        author::{Online, Publication, Top, check, versions},
    },
};
use serde_json::json;

use crate::{
    args::Publish,
    channel, keys,
    publisher::{Publisher, write_publication},
    pull::Puller,
};

/// Publishes what is drafted, once a node would follow it from what it may have seen.
pub fn run(args: &Publish) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(&args.desk.dir)?;
    let places = args.to.iter().map(|text| place(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let signers = args.key.iter().map(|spec| keys::signer(spec)).collect::<anyhow::Result<Vec<_>>>()?;
    let signers: Vec<&dyn Signer> = signers.iter().map(|signer| &**signer).collect();
    let now = SystemTime::now();
    let online = Online {
        signers: &signers,
        snapshot: publisher.settings.expiry(Top::Snapshot, now)?,
        timestamp: publisher.settings.expiry(Top::Timestamp, now)?,
        now,
    };
    let next = publisher.repository.publish(&online)?;
    let puller = Puller::new()?;
    let checking = Checking { publisher: &publisher, puller: &puller, next: &next, now };
    checking.all(&places)?;
    let drafted = publisher.repository.is_drafted();
    publisher.save_publication(next.clone())?;
    for place in &places {
        upload(&puller, place, &next).with_context(|| {
            format!("putting it into {place}; it is published in the directory: 'release publish' again tries again")
        })?;
    }
    report(args, &next, drafted)
}

/// A place that can be written.
fn place(text: &str) -> anyhow::Result<Place> {
    match channel::place(text)? {
        Place::Http(url) => bail!("{url} cannot be written to: publish --to dir:<path>, and serve that"),
        place => Ok(place),
    }
}

/// What has to hold before anything is written.
struct Checking<'a> {
    publisher: &'a Publisher,
    puller: &'a Puller,
    next: &'a Publication,
    now: SystemTime,
}

impl Checking<'_> {
    fn all(&self, places: &[Place]) -> anyhow::Result<()> {
        let published = self.publisher.repository.published();
        self.follow::<&Publication>(None)?;
        if !published.is_empty() {
            self.follow(Some(("what this directory published", published)))?;
        }
        for place in places {
            let there = self.puller.wait(channel::there(self.puller.reader(), place));
            if let Some(repository) = there.with_context(|| format!("reading what is published at {place}"))? {
                self.follow(Some(("the destination", repository))).with_context(|| place.to_string())?;
            }
        }
        Ok(())
    }

    fn follow<T: Transport>(&self, before: Option<(&'static str, T)>) -> anyhow::Result<()> {
        let scratch = tempfile::tempdir().context("making a directory for metadata")?;
        let root = self.next.first_root().context("there is no root to begin with")?;
        let known = versions(self.publisher.repository.published())?;
        Ok(self.puller.wait(check(scratch.path(), root, before, known, self.next, self.now))?)
    }
}

fn upload(puller: &Puller, place: &Place, next: &Publication) -> anyhow::Result<()> {
    match place {
        Place::Directory(path) => write_publication(path, next),
        Place::Registry(reference) => {
            let files = next.files().clone();
            ensure!(files.len() <= rocketos_oci::FILES, "more than {} files are published", rocketos_oci::FILES);
            let kind = channel::KIND;
            puller.wait(puller.reader().put_files(reference, channel::TAG, kind, kind, files))?;
            Ok(())
        }
        Place::Http(_) => bail!("{place} cannot be written to"),
    }
}

fn report(args: &Publish, next: &Publication, drafted: bool) -> anyhow::Result<()> {
    let [timestamp, targets] = versions(next)?.context("nothing was published")?;
    let root = next.root_document()?.context("no root was published")?.version;
    let (first, expires) = next.expires()?.context("nothing was published")?;
    let expires = DateTime::<Utc>::from(expires).to_rfc3339_opts(SecondsFormat::Secs, true);
    if args.desk.json {
        let document = json!({
            "root": root, "targets": targets, "timestamp": timestamp, "expires": expires, "expiresFirst": first,
            "changed": drafted, "to": args.to,
        });
        println!("{document:#}");
        return Ok(());
    }
    let what = if drafted { "Published the draft" } else { "Published nothing new, for longer" };
    let due = match Top::OFFLINE.contains(&first) {
        true => format!("{first} expires first, at {expires}: 'release renew --role {first}' before that"),
        false => format!("publish again before {expires}"),
    };
    println!("{what}: root {root}, targets {targets}, timestamp {timestamp}; {due}.");
    Ok(())
}

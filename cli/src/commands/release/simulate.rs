//! `release simulate`: how a fleet would take a release.

use std::fs;

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use rocketos_model::ManifestDigest;
use rocketos_update::{
    Channel, Curve, Fleet, Moment, Release,
    channel::{CURVE_DAYS, FORMAT},
    simulate,
};
use serde_json::json;

use super::{opening, plot};
use crate::args::Simulate;

/// Lines of the table.
const LINES: u32 = 24;
/// Moments of the plot.
const MOMENTS: u32 = 480;

/// Does it.
pub fn run(args: &Simulate) -> anyhow::Result<()> {
    let curve = opening::curve(&args.curve)?;
    if !(0.0..=1.0).contains(&args.failing) {
        bail!("{} is not a share: from 0 to 1", args.failing);
    }
    let poll = seconds(args.poll).context("--poll")?;
    let until = match args.until {
        Some(until) => seconds(until).context("--until")?,
        None => TimeDelta::seconds(curve.points().last().map_or(0, |point| point.after.into())) + poll,
    };
    let channel = channel(curve);
    let fleet = Fleet { nodes: args.nodes, poll, failing: args.failing };
    let line = simulate(&channel, &channel.releases[0], fleet, until, MOMENTS);
    if let Some(file) = &args.svg {
        fs::write(file, plot::svg(&line, args.nodes)).with_context(|| format!("writing {}", file.display()))?;
    }
    match args.json {
        true => println!("{:#}", document(&line, args.nodes)),
        false => print(&line, args.nodes),
    }
    Ok(())
}

fn seconds(duration: humantime::Duration) -> anyhow::Result<TimeDelta> {
    let delta = TimeDelta::from_std(*duration).ok().filter(|delta| *delta <= TimeDelta::days(CURVE_DAYS));
    delta.with_context(|| format!("{duration} is longer than {CURVE_DAYS} days"))
}

/// A channel with nothing but a release that opens by the curve.
fn channel(curve: Curve) -> Channel {
    let release = Release {
        version: "2".parse().expect("a version"),
        variant: String::new(),
        architecture: String::new(),
        image: "docker://localhost/simulated".parse().expect("a reference"),
        digest: ManifestDigest::from_bytes([0x51; 32]),
        earliest: None,
        published: chrono::DateTime::UNIX_EPOCH,
        curve,
        halted: false,
        recalled: None,
        notes: None,
    };
    Channel { format: FORMAT, channel: "simulated".to_owned(), releases: vec![release] }
}

fn document(line: &[Moment], nodes: u32) -> serde_json::Value {
    let moments: Vec<_> = line
        .iter()
        .map(|moment| {
            let after = moment.after.num_seconds();
            json!({ "after": after, "open": moment.open, "took": moment.took, "failed": moment.failed })
        })
        .collect();
    json!({ "nodes": nodes, "moments": moments })
}

fn print(line: &[Moment], nodes: u32) {
    println!("{:>12}  {:>7}  {:>10}  {:>10}", "after", "open", "took", "failed");
    for moment in line.iter().step_by((MOMENTS / LINES) as usize) {
        let after = humantime::format_duration(std::time::Duration::from_secs(
            moment.after.num_seconds().max(0).unsigned_abs() / 60 * 60,
        ));
        println!(
            "{:>12}  {:>6.1}%  {:>10}  {:>10}",
            after.to_string(),
            moment.open * 100.0,
            moment.took,
            moment.failed
        );
    }
    if let Some(last) = line.last() {
        println!("{} of {nodes} nodes took it; it failed on {}.", last.took, last.failed);
    }
}

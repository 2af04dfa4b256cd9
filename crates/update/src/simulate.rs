//! How a fleet takes a release, by the very decisions its nodes would make.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use rocketos_model::ManifestDigest;

use crate::{Accepted, Channel, Decision, Node, Release, Wait, Wish, decide, wave};

/// A fleet that has nothing of the channel yet.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// Its nodes.
    pub nodes: u32,
    /// How often each asks; when in between is spread evenly.
    pub poll: TimeDelta,
    /// The share of nodes whose health checks the release fails, 0 to 1.
    pub failing: f64,
}

/// The fleet at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// After the publication.
    pub after: TimeDelta,
    /// The share that the curve opens to.
    pub open: f64,
    /// Nodes that have taken the release.
    pub took: u32,
    /// Of these, nodes where it failed.
    pub failed: u32,
}

/// Moves the fleet, and tells of `moments` evenly spaced moments from the publication to `until`.
///
/// Every node of the fleet is one whose machine-id is a number, and asks [`decide`] whenever its time has come; told to wait for
/// its turn, it does not ask before.
pub fn simulate(channel: &Channel, release: &Release, fleet: Fleet, until: TimeDelta, moments: u32) -> Vec<Moment> {
    let step = until / i32::try_from(moments.max(1)).unwrap_or(i32::MAX);
    let at = |index: u32| step * i32::try_from(index).unwrap_or(i32::MAX);
    let mut line: Vec<_> = (0..=moments)
        .map(|index| Moment { after: at(index), open: release.curve.share(at(index)), took: 0, failed: 0 })
        .collect();
    for number in 0..fleet.nodes {
        let machine_id = format!("{number:032x}");
        let Some(taken) = taken(channel, release, &machine_id, fleet.poll, until) else { continue };
        let failed = wave::position(&machine_id, &FAILING) < fleet.failing;
        let first = line.partition_point(|moment| moment.after < taken);
        if let Some(moment) = line.get_mut(first) {
            moment.took += 1;
            moment.failed += u32::from(failed);
        }
    }
    let (mut took, mut failed) = (0, 0);
    for moment in &mut line {
        took += moment.took;
        failed += moment.failed;
        (moment.took, moment.failed) = (took, failed);
    }
    line
}

/// Digests of no image, so that neither chance has to do with a node's turn.
const FAILING: ManifestDigest = ManifestDigest::from_bytes([0xf0; 32]);
const ASKING: ManifestDigest = ManifestDigest::from_bytes([0xa0; 32]);
/// What runs before.
const BEFORE: ManifestDigest = ManifestDigest::from_bytes([0xbe; 32]);

/// When a node takes the release, after its publication.
fn taken(
    channel: &Channel,
    release: &Release,
    machine_id: &str,
    poll: TimeDelta,
    until: TimeDelta,
) -> Option<TimeDelta> {
    let poll = poll.max(TimeDelta::seconds(1));
    let first = poll.as_seconds_f64() * wave::position(machine_id, &ASKING);
    let none = BTreeSet::new();
    let accepted: Option<&Accepted> = None;
    let version = release.earliest.as_ref();
    let node = Node {
        machine_id,
        variant: &release.variant,
        architecture: &release.architecture,
        version,
        digest: BEFORE,
        accepted,
        failed: &none,
        place: None,
        lock: None,
    };
    let mut asks = 0.0;
    loop {
        let after = TimeDelta::milliseconds(((first + asks * poll.as_seconds_f64()) * 1000.0) as i64);
        if after > until {
            return None;
        }
        let now: DateTime<Utc> = release.published.checked_add_signed(after)?;
        match decide(channel, &node, Wish::default(), now) {
            Decision::Take { release: found, .. } if found.digest == release.digest => return Some(after),
            Decision::Wait { wait: Wait::Turn { at: Some(at), .. }, release: found }
                if found.digest == release.digest =>
            {
                let wait = (at - release.published).as_seconds_f64() - first;
                asks = (wait / poll.as_seconds_f64()).ceil().max(asks + 1.0);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(curve: &str) -> Channel {
        let zeros = "0".repeat(64);
        let text = format!(
            r#"{{"format": 1, "channel": "stable", "releases": [{{"version": "2", "variant": "v", "architecture": "amd64",
                "digest": "sha256:{zeros}", "image": "docker://registry.example/node", "earliest": "1",
                "published": "2026-11-01T00:00:00Z", "curve": {curve}}}]}}"#
        );
        Channel::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_fleet_follows_the_curve() {
        const NODES: u32 = 4000;
        let day = 86_400;
        let channel = channel(&format!(r#"[{{"after": 0, "share": 0}}, {{"after": {day}, "share": 1}}]"#));
        let fleet = Fleet { nodes: NODES, poll: TimeDelta::minutes(30), failing: 0.1 };
        let line = simulate(&channel, &channel.releases[0], fleet, TimeDelta::days(2), 96);
        assert_eq!(line.len(), 97);
        for moment in &line {
            // The curve, late by at most one poll; five standard deviations of chance.
            let late = (moment.after - fleet.poll).max(TimeDelta::zero());
            let lowest = channel.releases[0].curve.share(late) * f64::from(NODES);
            let chance = 5.0 * (f64::from(NODES) / 4.0).sqrt();
            let took = f64::from(moment.took);
            assert!(took >= lowest - chance && took <= moment.open * f64::from(NODES) + chance, "{moment:?}");
        }
        let last = line.last().unwrap();
        assert_eq!(last.took, NODES);
        assert!((f64::from(last.failed) - 400.0).abs() < 100.0, "{last:?}");
        assert!(line.is_sorted_by(|a, b| a.took <= b.took && a.failed <= b.failed));
    }

    #[test]
    fn a_curve_that_ends_leaves_the_rest() {
        let channel = channel(r#"[{"after": 60, "share": 0.25}]"#);
        let fleet = Fleet { nodes: 2000, poll: TimeDelta::minutes(5), failing: 0.0 };
        let line = simulate(&channel, &channel.releases[0], fleet, TimeDelta::days(300), 10);
        let last = line.last().unwrap();
        assert!((f64::from(last.took) - 500.0).abs() < 100.0 && last.failed == 0, "{last:?}");
    }
}

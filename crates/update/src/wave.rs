//! A node's place in the order in which the fleet takes a release.

use rocketos_model::ManifestDigest;
use sha2::{Digest as _, Sha256};

/// Separates this use of the machine-id from every other.
const CONTEXT: &[u8] = b"rocketos wave 1\0";
/// The same for a node's name in its fleet.
const FLEET: &[u8] = b"rocketos fleet 1\0";
/// Bytes of such a name.
const FLEET_BYTES: usize = 16;
/// Places in a fleet that somebody may give a node.
pub const PLACES: u16 = 2048;
/// Bits of a hash that a `f64` holds exactly.
const BITS: u32 = 53;

/// The node's position, at least 0 and less than 1: evenly spread over a fleet, another for each release, and nothing that has
/// to be stored. A release is open to the node when its curve's share exceeds the position.
pub fn position(machine_id: &str, digest: &ManifestDigest) -> f64 {
    let hash = Sha256::new()
        .chain_update(CONTEXT)
        .chain_update(machine_id.trim().as_bytes())
        .chain_update([0])
        .chain_update(digest.as_bytes())
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    (u64::from_be_bytes(first) >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

/// The position of who was given one of [`PLACES`], from 0.
pub fn place(place: u16) -> f64 {
    f64::from(place % PLACES) / f64::from(PLACES)
}

/// The node's name to a service that hands out reboot locks: another than its machine-id, which is nobody else's business.
pub fn fleet_id(machine_id: &str) -> String {
    let hash = Sha256::new().chain_update(FLEET).chain_update(machine_id.trim().as_bytes()).finalize();
    hash[..FLEET_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> ManifestDigest {
        ManifestDigest::from_bytes([byte; 32])
    }

    #[test]
    fn spreads_a_fleet_evenly() {
        const NODES: usize = 20_000;
        let mut tenths = [0_usize; 10];
        for node in 0..NODES {
            let position = position(&format!("{node:032x}"), &digest(1));
            assert!((0.0..1.0).contains(&position));
            tenths[(position * 10.0) as usize] += 1;
        }
        // Five standard deviations of a binomial share.
        let deviation = (NODES as f64 * 0.1 * 0.9).sqrt();
        for count in tenths {
            assert!((count as f64 - NODES as f64 * 0.1).abs() < 5.0 * deviation, "{tenths:?}");
        }
    }

    #[test]
    fn chooses_other_canaries_for_each_release() {
        let canaries = |release: u8| -> Vec<usize> {
            (0..2000).filter(|node| position(&format!("{node:032x}"), &digest(release)) < 0.05).collect()
        };
        let (first, second) = (canaries(1), canaries(2));
        let both = first.iter().filter(|node| second.contains(node)).count();
        assert!(first.len() > 60 && both < first.len() / 4, "{both} of {}", first.len());
    }

    #[test]
    fn stays_the_same() {
        // A fixed value: a change would shuffle every fleet in the middle of a wave.
        let found = position("0123456789abcdef0123456789abcdef\n", &digest(7));
        assert_eq!(format!("{found:.12}"), "0.072525670717");
    }
}

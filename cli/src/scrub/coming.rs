//! What an image that comes shares with what a scrub left damaged.
//!
//! A layer that is here is not fetched, and nobody reads its files meanwhile: the new image would be as damaged as the old one.

use std::collections::BTreeSet;

use anyhow::Context as _;
use rocketos_deploy::{DeployError, Lock, Node, note_mended};
use rocketos_model::DiffId;
use rocketos_oci::Resolved;
use rocketos_store::{Mender, Scrubbed};

use super::in_use::still_in_use;
use crate::{output::Reporter, pull::Puller};

/// Mends damage that is known with what comes anyhow.
#[derive(Debug)]
pub struct Coming {
    mender: Mender,
    scrubbed: Scrubbed,
    _lock: Lock,
}

impl Coming {
    /// Brings the layers again that are here and damaged. Absent where nothing is known to be damaged, or somebody scrubs: that
    /// one mends.
    ///
    /// # Errors
    /// When the store cannot be read or written, or a layer cannot be had.
    pub fn begin(
        node: &Node,
        puller: &Puller,
        resolved: &Resolved,
        reporter: &Reporter,
    ) -> anyhow::Result<Option<Self>> {
        if node.scrubbed()?.damage.is_empty() {
            return Ok(None);
        }
        let lock = match Lock::take_to_scrub(&node.root) {
            Err(DeployError::Locked(_)) => return Ok(None),
            other => other?,
        };
        let mut scrubbed = node.scrubbed()?;
        scrubbed.damage = node.store.look_at_damage(scrubbed.damage).context("looking at what is damaged")?;
        let mender = node.store.mender(&scrubbed.damage)?;
        let layers: Vec<DiffId> = resolved.layers.iter().map(|layer| layer.diff_id).collect();
        let mut again: BTreeSet<DiffId> = node.store.wanting(&layers, &scrubbed.damage)?;
        // What is not here comes whole; of one whose list cannot be read nobody knows.
        again.retain(|layer| node.store.has_layer(layer).unwrap_or(true));
        puller.fetch_again(resolved, &again, &mender, reporter).context("fetching what is damaged here")?;
        Ok(Some(Self { mender, scrubbed, _lock: lock }))
    }

    /// Makes what is made of the layers, which are all here now, and remembers what is still damaged.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn finish(self, node: &Node, resolved: &Resolved) -> anyhow::Result<()> {
        self.mender.commit_image(&resolved.manifest, &resolved.config)?;
        let in_use = still_in_use(node, node.store.in_use(&self.mender.mended())?);
        if node.booted.is_some() && !in_use.is_empty() {
            note_mended(&in_use)?;
        }
        let damage = node.store.look_at_damage(self.scrubbed.damage.clone()).context("looking at what was mended")?;
        Ok(node.remember_scrub(&Scrubbed { damage, ..self.scrubbed })?)
    }
}

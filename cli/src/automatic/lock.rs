//! The fleet's reboot lock: FleetLock, as zincati speaks it (coreos.github.io/zincati, "FleetLock protocol").
//!
//! A mark on the disk comes before the request, so that a lock which may be held is given back, whatever happens between.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client as Http, StatusCode, Url, redirect};
use rocketos_deploy::Node;
use rocketos_update::fleet_id;
use serde::Deserialize;
use serde_json::json;

use super::schedule::RebootLock;
use crate::{channel::machine_id, pull::runtime};

/// The header that every request has.
const PROTOCOL: &str = "fleet-lock-protocol";
/// What a request may take.
const WHOLE: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 << 10;

/// A node that asks.
pub struct Client<'a> {
    node: &'a Node,
    http: Http,
    base: Url,
    body: String,
}

/// What a service says that refuses.
#[derive(Debug, Deserialize)]
struct Refusal {
    kind: String,
    value: String,
}

impl<'a> Client<'a> {
    pub fn new(lock: &RebootLock, node: &'a Node) -> anyhow::Result<Self> {
        let http = Http::builder().user_agent("rocketctl").timeout(WHOLE).redirect(redirect::Policy::none()).build();
        let body = json!({ "client_params": { "id": fleet_id(&machine_id()?), "group": lock.group } }).to_string();
        Ok(Self { node, http: http.context("preparing for HTTP")?, base: lock.url.clone(), body })
    }

    /// Takes the lock; why not, where the service refuses.
    ///
    /// # Errors
    /// When the service cannot be reached, or what answers is none: then nobody said that this node may reboot.
    pub fn take(&self) -> anyhow::Result<Option<String>> {
        self.node.mark_reboot_lock(true)?;
        let (status, answer) = self.ask("v1/pre-reboot")?;
        if status == StatusCode::OK {
            return Ok(None);
        }
        match serde_json::from_slice::<Refusal>(&answer) {
            Ok(refusal) => Ok(Some(format!("{} ({})", refusal.value, refusal.kind))),
            Err(_) => bail!("{} answered {status}, which no reboot lock says", self.base),
        }
    }

    /// Gives the lock back, where it may be held.
    ///
    /// # Errors
    /// When the service does not take it; it is given back the next time.
    pub fn release(&self) -> anyhow::Result<()> {
        if !self.node.may_hold_reboot_lock()? {
            return Ok(());
        }
        let (status, _) = self.ask("v1/steady-state").context("giving the reboot lock back")?;
        if status != StatusCode::OK {
            bail!("{} did not take the reboot lock back: {status}", self.base);
        }
        Ok(self.node.mark_reboot_lock(false)?)
    }

    fn ask(&self, path: &str) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let url = format!("{}/{path}", self.base.as_str().trim_end_matches('/'));
        let asking = || format!("asking {url}");
        runtime()?.block_on(async {
            let request = self.http.post(&url).header(PROTOCOL, "true").header("content-type", "application/json");
            let mut response = request.body(self.body.clone()).send().await.with_context(asking)?;
            let (status, mut answer) = (response.status(), Vec::new());
            while let Some(piece) = response.chunk().await.with_context(asking)? {
                if answer.len() + piece.len() > ANSWER_BYTES {
                    bail!("{url} answered with more than {ANSWER_BYTES} bytes");
                }
                answer.extend_from_slice(&piece);
            }
            Ok((status, answer))
        })
    }
}

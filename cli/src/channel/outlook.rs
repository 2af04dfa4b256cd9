//! What a node's channel said when it was read last, and what that means now. Asks nobody.

use std::fs;

use anyhow::Context as _;
use chrono::Utc;
use rocketos_deploy::{Node, Roles};
use rocketos_update::{Channel, Wish};
use serde_json::{Value, json};

use super::{Standing, Words, date};
use crate::automatic::Schedule;

/// The outlook, for people and for programs; absent where the node follows no channel.
///
/// # Errors
/// When what is remembered cannot be read.
pub fn outlook(node: &Node, roles: &Roles) -> anyhow::Result<Option<(String, Value)>> {
    let Some(channel) = roles.followed().and_then(|followed| followed.origin.channel.as_ref()) else { return Ok(None) };
    let remembered = node.remembered(&channel.from);
    let mut said = json!({ "name": channel.name, "from": channel.from, "read": Value::Null });
    let Some(text) = remembered.document(&channel.name)? else {
        return Ok(Some((format!("{channel}: not read yet"), said)));
    };
    let path = remembered.document_path(&channel.name);
    let read = fs::metadata(&path).and_then(|meta| meta.modified());
    let read = date(read.with_context(|| format!("looking at {}", path.display()))?);
    let document = Channel::parse(text.as_bytes()).with_context(|| format!("reading what the {channel} said"))?;
    let schedule = Schedule::of_node()?;
    let standing = Standing::of(node, roles, channel, &schedule)?;
    let decision = standing.decide(&document, schedule.wish(Wish::default()), Utc::now());
    let words = Words(&decision);
    said["read"] = json!(read);
    said["says"] = words.document();
    Ok(Some((format!("{channel}, read {read}: {words}"), said)))
}

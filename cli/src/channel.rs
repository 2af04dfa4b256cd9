//! Channels: fresh release metadata from wherever it lies, and the document that it vouches for.

mod place;
mod repository;

use std::time::SystemTime;

use anyhow::Context as _;
use rocketos_oci::Reader;
use rocketos_trust::tuf::{Client, State, TargetName};
use rocketos_update::Channel;

pub use self::place::Place;
use self::repository::Repository;
pub use self::repository::{KIND, TAG, there};

/// A channel's document, and the metadata that named it.
#[derive(Debug)]
pub struct Published {
    /// The document.
    pub channel: Channel,
    /// The trusted root's version.
    pub root: u64,
    /// The timestamp's version: none below it is accepted any more.
    pub timestamp: u64,
    /// When all of this has to be fetched again.
    pub expires: SystemTime,
}

/// Brings the metadata in `state` up to date and reads the channel of this name.
///
/// # Errors
/// When anything is not signed as the root demands, older than what was seen before, expired, or not there.
pub async fn read(
    reader: &Reader,
    place: &Place,
    name: &str,
    state: State,
    root: Option<&[u8]>,
) -> anyhow::Result<Published> {
    let asking = || format!("reading the channel {name} of {place}");
    let target = TargetName::new(&target(name)).with_context(asking)?;
    let repository = Repository::open(reader, place).await.with_context(asking)?;
    let mut client = Client::open(state, root, repository).with_context(asking)?;
    let fresh = client.refresh(SystemTime::now()).await.with_context(asking)?;
    let target = fresh.find(&target).await.with_context(asking)?;
    let document = fresh.fetch(&target).await.with_context(asking)?;
    let (timestamp, expires) = (fresh.timestamp_version(), fresh.expires());
    let channel = Channel::parse(&document).with_context(asking)?;
    anyhow::ensure!(channel.channel == name, "{}: the document is that of {}", asking(), channel.channel);
    Ok(Published { channel, root: client.root_version(), timestamp, expires })
}

/// The target that is a channel's document.
fn target(name: &str) -> String {
    format!("{name}.json")
}

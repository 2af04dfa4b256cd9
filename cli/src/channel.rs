//! Channels: fresh release metadata from wherever it lies, and the document that it vouches for.

mod clock;
mod outlook;
mod repository;
mod standing;
mod words;

use std::{path::Path, time::SystemTime};

use anyhow::Context as _;
use rocketos_deploy::Remembered;
use rocketos_model::{Followed, Place};
use rocketos_oci::Reader;
use rocketos_trust::{
    Policy,
    tuf::{Client, Fresh, State, TargetName, Transport, TufError},
};
use rocketos_update::Channel;

use self::repository::Repository;
pub use self::repository::{KIND, TAG, there};
pub use self::{
    outlook::outlook,
    standing::{Standing, machine_id, shipped_root},
    words::{Words, date},
};

/// The target that is the policy of everybody who follows a channel from there.
pub const POLICY: &str = "policy.toml";

/// What fresh metadata vouches for.
#[derive(Debug)]
pub struct Documents {
    /// The channel.
    pub channel: Channel,
    /// The same as it was published.
    pub text: String,
    /// The policy that was published beside it.
    pub policy: Option<String>,
    /// The timestamp's version: none below it is accepted any more.
    pub timestamp: u64,
    /// When all of this has to be fetched again.
    pub expires: SystemTime,
}

/// A channel as it was read.
#[derive(Debug)]
pub struct Published {
    /// What it says.
    pub documents: Documents,
    /// The trusted root's version.
    pub root: u64,
    /// What there is to say about this machine's clock.
    pub doubt: Option<String>,
}

/// A place as a person typed it: a relative directory is one below the working directory.
pub fn place(text: &str) -> anyhow::Result<Place> {
    let absolute = match text.strip_prefix("dir:") {
        Some(path) if !path.is_empty() => {
            let path = std::path::absolute(path).with_context(|| format!("looking for {path}"))?;
            format!("dir:{}", path.display())
        }
        _ => text.to_owned(),
    };
    Ok(absolute.parse()?)
}

/// A channel as a person typed it.
pub fn followed(name: &str, from: &str) -> anyhow::Result<Followed> {
    require_name(name)?;
    Ok(Followed { name: name.to_owned(), from: place(from)? })
}

/// Refuses what cannot be a channel's name.
pub fn require_name(name: &str) -> anyhow::Result<()> {
    let allowed = "lower-case letters, digits and inner hyphens";
    anyhow::ensure!(Channel::is_name(name), "'{name}' is not a channel's name: {allowed}");
    Ok(())
}

/// Brings the metadata in `state` up to date and reads the channel.
///
/// # Errors
/// When anything is not signed as the root demands, older than what was seen before, expired, or not there.
pub async fn read(
    reader: &Reader,
    followed: &Followed,
    state: State,
    root: Option<&[u8]>,
) -> anyhow::Result<Published> {
    let asking = || format!("reading the {followed}");
    let now = SystemTime::now();
    let repository = Repository::open(reader, &followed.from).await.with_context(asking)?;
    let mut client = Client::open(state, root, repository).with_context(asking)?;
    let found = match client.refresh(now).await {
        Ok(fresh) => documents(&fresh, followed).await,
        Err(error) => Err(error.into()),
    };
    let doubt = clock::doubt(now, client.transport().date().as_deref());
    let documents = found.with_context(|| match &doubt {
        Some(doubt) => format!("{} ({doubt})", asking()),
        None => asking(),
    })?;
    Ok(Published { documents, root: client.root_version(), doubt })
}

/// The channel's document and the policy, of metadata that is fresh.
async fn documents<T: Transport>(fresh: &Fresh<'_, T>, followed: &Followed) -> anyhow::Result<Documents> {
    let text =
        |name: &'static str, bytes: Vec<u8>| String::from_utf8(bytes).with_context(|| format!("{name} is no text"));
    let target = fresh.find(&TargetName::new(&target(&followed.name))?).await?;
    let document = fresh.fetch(&target).await?;
    let channel = Channel::parse(&document)?;
    anyhow::ensure!(channel.channel == followed.name, "the document is that of the channel {}", channel.channel);
    let policy = match fresh.find(&TargetName::new(POLICY)?).await {
        Ok(target) => {
            let policy = text(POLICY, fresh.fetch(&target).await?)?;
            Policy::parse(Path::new(POLICY), &policy).context("the policy that was published there is refused")?;
            Some(policy)
        }
        Err(TufError::NoTarget { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let (timestamp, expires) = (fresh.timestamp_version(), fresh.expires());
    Ok(Documents { channel, text: text("the document", document)?, policy, timestamp, expires })
}

/// Reads a channel as a node that remembers, and remembers what it says. `shipped` is the image's root metadata, which
/// counts where nobody gave another for the place.
pub async fn look(
    reader: &Reader,
    followed: &Followed,
    remembered: &Remembered,
    shipped: Option<&[u8]>,
    made: Option<&str>,
) -> anyhow::Result<Published> {
    clock::require(SystemTime::now(), made)?;
    let given = remembered.root()?;
    let root = given.as_deref().map(str::as_bytes).or(shipped);
    let state = State::open(remembered.metadata())?;
    let published = read(reader, followed, state, root).await?;
    let Documents { policy, text, .. } = &published.documents;
    if remembered.policy()? != *policy {
        remembered.keep_policy(policy.as_deref())?;
    }
    remembered.keep_document(&followed.name, text)?;
    Ok(published)
}

/// The target that is a channel's document.
fn target(name: &str) -> String {
    format!("{name}.json")
}

//! The command line of `release`.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args as ClapArgs, Subcommand};
use rocketos_trust::tuf::author::Top;

/// `release`.
#[derive(Debug, Subcommand)]
pub enum Release {
    /// Draft the first root: who signs for what.
    Init(Init),
    /// Draft a release of an image, for each of its architectures.
    Add(Add),
    /// Draft a release of one channel for another.
    Promote(Promote),
    /// Draft that a release opens otherwise than it was said to.
    Open(Open),
    /// Draft that nodes which have not taken a release wait.
    Halt(Pick),
    /// Draft that they wait no longer.
    Resume(Pick),
    /// Draft that nodes which have a release leave it.
    Recall(Recall),
    /// Draft that a channel names a release no more.
    Retire(Pick),
    /// Draft the policy that nodes of the channels follow.
    Policy(PolicyFile),
    /// Draft the next root: other keys, or more of them.
    RotateKeys(RotateKeys),
    /// Draft the next root or targets document with nothing new but its expiry.
    Renew(Renew),
    /// Say in words what is drafted, and who still has to sign it.
    Diff(Diff),
    /// Read what is drafted, and sign what the key is entitled to.
    Sign(SignDraft),
    /// Take the signatures that others made in copies of this directory.
    Collect(Collect),
    /// Drop all that is drafted.
    Discard(Discard),
    /// Publish what is drafted and signed; without a draft, what is published already for longer.
    Publish(Publish),
    /// Check a channel as a node would, and say which releases it has.
    Show(Show),
    /// Show how a fleet would take a release, by the decisions its nodes would make.
    Simulate(Simulate),
}

/// Where a publisher works, and how that is reported.
#[derive(Debug, Clone, ClapArgs)]
pub struct Desk {
    /// The publisher's directory.
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    pub dir: PathBuf,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `<role>=<number>`.
#[derive(Debug, Clone, Copy)]
pub struct ForRole {
    /// The role.
    pub role: Top,
    /// The number.
    pub number: u64,
}

/// Reads `<role>=<number>`.
fn for_role(text: &str) -> Result<ForRole, String> {
    let (role, number) = text.split_once('=').ok_or("it is not <role>=<number>")?;
    let number = number.parse().map_err(|_| format!("'{number}' is no number"))?;
    Ok(ForRole { role: role.parse()?, number })
}

/// `release init`.
#[derive(Debug, ClapArgs)]
pub struct Init {
    /// A key that signs roots; several may be given. A public key's file, pkcs11:<URI>, or exec:<PROGRAM>,<PUBLIC KEY>.
    #[arg(long, value_name = "KEY", required = true)]
    pub root_key: Vec<String>,
    /// The same for what is published.
    #[arg(long, value_name = "KEY", required = true)]
    pub targets_key: Vec<String>,
    /// The same for snapshots, best kept on line.
    #[arg(long, value_name = "KEY", required = true)]
    pub snapshot_key: Vec<String>,
    /// The same for timestamps, best kept on line.
    #[arg(long, value_name = "KEY", required = true)]
    pub timestamp_key: Vec<String>,
    /// How many of a role's keys have to sign; 1 where absent.
    #[arg(long, value_name = "ROLE=NUMBER", value_parser = for_role)]
    pub threshold: Vec<ForRole>,
    /// How many days a role's documents hold.
    #[arg(long, value_name = "ROLE=NUMBER", value_parser = for_role)]
    pub days: Vec<ForRole>,
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// How a release opens, and what else is said of it.
#[derive(Debug, ClapArgs)]
pub struct Terms {
    /// How it opens, in JSON: points of seconds after its publication and the share of the fleet that may take it; to all
    /// at once where absent.
    #[arg(long, value_name = "FILE")]
    pub curve: Option<PathBuf>,
    /// When the curve begins; now where absent.
    #[arg(long, value_name = "TIME")]
    pub published: Option<DateTime<Utc>>,
}

/// `release add`.
#[derive(Debug, ClapArgs)]
pub struct Add {
    /// The image, in a registry, with a tag or a digest.
    pub image: String,
    /// The channel; it begins with its first release.
    #[arg(long)]
    pub channel: String,
    /// The earliest version from which it may be taken.
    #[arg(long, value_name = "VERSION")]
    pub earliest: Option<String>,
    /// For people.
    #[arg(long, value_name = "TEXT")]
    pub notes: Option<String>,
    /// How it opens.
    #[command(flatten)]
    pub terms: Terms,
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release promote`.
#[derive(Debug, ClapArgs)]
pub struct Promote {
    /// The version.
    pub version: String,
    /// The channel that has it.
    #[arg(long, value_name = "CHANNEL")]
    pub from: String,
    /// The channel that is to have it.
    #[arg(long, value_name = "CHANNEL")]
    pub to: String,
    /// How it opens there.
    #[command(flatten)]
    pub terms: Terms,
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release halt`, `release resume` and `release retire`.
#[derive(Debug, ClapArgs)]
pub struct Pick {
    /// The version; all its variants and architectures.
    pub version: String,
    /// The channel.
    #[arg(long)]
    pub channel: String,
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release open`.
#[derive(Debug, ClapArgs)]
pub struct Open {
    /// Which.
    #[command(flatten)]
    pub pick: Pick,
    /// How it opens from now on, in JSON; to all at once where absent.
    #[arg(long, value_name = "FILE")]
    pub curve: Option<PathBuf>,
    /// When the curve begins; as before where absent.
    #[arg(long, value_name = "TIME")]
    pub published: Option<DateTime<Utc>>,
}

/// `release recall`.
#[derive(Debug, ClapArgs)]
pub struct Recall {
    /// Which.
    #[command(flatten)]
    pub pick: Pick,
    /// Why; nodes say so.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// `release policy`.
#[derive(Debug, ClapArgs)]
pub struct PolicyFile {
    /// The policy, in TOML, with its keys in it.
    #[arg(required_unless_present = "none", conflicts_with = "none")]
    pub file: Option<PathBuf>,
    /// Publish none any more.
    #[arg(long)]
    pub none: bool,
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release rotate-keys`.
#[derive(Debug, ClapArgs)]
pub struct RotateKeys {
    /// The role: root, targets, snapshot or timestamp.
    #[arg(long)]
    pub role: Top,
    /// A key to add, as for `init`.
    #[arg(long, value_name = "KEY")]
    pub add: Vec<String>,
    /// A key to remove, by its name or the beginning of its id.
    #[arg(long, value_name = "NAME")]
    pub remove: Vec<String>,
    /// How many have to sign; as before where absent.
    #[arg(long, value_name = "NUMBER")]
    pub threshold: Option<u64>,
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release renew`.
#[derive(Debug, ClapArgs)]
pub struct Renew {
    /// The role: root or targets. The others are renewed by each `publish`.
    #[arg(long)]
    pub role: Top,
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release diff`.
#[derive(Debug, ClapArgs)]
pub struct Diff {
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release sign`.
#[derive(Debug, ClapArgs)]
pub struct SignDraft {
    /// A private key: a file (PKCS#8 in PEM), pkcs11:<URI>, or exec:<PROGRAM>,<PUBLIC KEY>.
    #[arg(long, value_name = "KEY", required = true)]
    pub key: Vec<String>,
    /// Sign without asking.
    #[arg(long)]
    pub yes: bool,
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release collect`.
#[derive(Debug, ClapArgs)]
pub struct Collect {
    /// A copy of this directory in which somebody signed.
    #[arg(required = true)]
    pub copies: Vec<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release discard`.
#[derive(Debug, ClapArgs)]
pub struct Discard {
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release publish`.
#[derive(Debug, ClapArgs)]
pub struct Publish {
    /// A private key of the snapshot or the timestamp, as for `sign`.
    #[arg(long, value_name = "KEY", required = true)]
    pub key: Vec<String>,
    /// Where to, besides the publisher's directory: docker://registry/repository or dir:path.
    #[arg(long, value_name = "PLACE")]
    pub to: Vec<String>,
    /// Where.
    #[command(flatten)]
    pub desk: Desk,
}

/// `release show`.
#[derive(Debug, ClapArgs)]
pub struct Show {
    /// Where its metadata is: docker://registry/repository, https://…, http://… or dir:path.
    #[arg(long, value_name = "PLACE")]
    pub from: String,
    /// The channel.
    #[arg(long, default_value = "stable")]
    pub channel: String,
    /// The root metadata to begin with; this machine's where absent.
    #[arg(long, value_name = "FILE", default_value = "/usr/lib/rocketos/trust/root.json")]
    pub root: PathBuf,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `release simulate`.
#[derive(Debug, ClapArgs)]
pub struct Simulate {
    /// How the release opens, in JSON: points of seconds after its publication and the share of the fleet that may take it.
    #[arg(long, value_name = "FILE")]
    pub curve: PathBuf,
    /// Nodes of the fleet.
    #[arg(long, default_value_t = 10_000)]
    pub nodes: u32,
    /// How often each asks.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub poll: humantime::Duration,
    /// The share of nodes on which it fails.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub failing: f64,
    /// How long to look; until the curve has ended where absent.
    #[arg(long, value_name = "DURATION")]
    pub until: Option<humantime::Duration>,
    /// Draw it into this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

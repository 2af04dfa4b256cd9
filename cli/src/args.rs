//! The command line. Verbs and flags bear bootc's names where bootc has them; help is the doc comments.

mod exec;
mod firewall;
mod health;
mod host_container;
mod keys;
mod release;
mod report;
mod selinux;
mod settings;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub use exec::*;
pub use firewall::*;
pub use health::*;
pub use host_container::*;
pub use keys::*;
pub use release::*;
pub use report::*;
pub use selinux::*;
pub use settings::*;

/// Installs, upgrades, proves and rolls back Rocket OS.
#[derive(Debug, Parser)]
#[command(name = "rocketctl", version, after_help = crate::exit::HELP)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What rocketctl does.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Install an image to a disk.
    #[command(subcommand)]
    Install(Install),
    /// Bring the newest image of what this node follows, to boot next.
    #[command(visible_alias = "update")]
    Upgrade(Upgrade),
    /// Follow another image from now on, and bring it, to boot next.
    Switch(Switch),
    /// Boot the previous deployment next; again, to take that back. Where there is none, take back what is staged.
    Rollback(Rollback),
    /// Say what runs, what boots next and what is kept.
    Status(Status),
    /// Keep a deployment, whatever prune removes.
    Pin(Deployment),
    /// Let prune remove a deployment again.
    Unpin(Deployment),
    /// Remove every deployment but booted, staged, rollback and the pinned ones.
    Prune(Prune),
    /// Make the health checks now, and say what they came to.
    Health(Health),
    /// Look at what the host's firewall lets in.
    #[command(subcommand)]
    Firewall(Firewall),
    /// Read everything in the store again, and mend what is damaged.
    Scrub(Scrub),
    /// Say whether what runs is what was signed.
    Verify(VerifyDeployment),
    /// Look at images, and make them.
    #[command(subcommand)]
    Image(Image),
    /// Read what SELinux refused.
    #[command(subcommand)]
    Selinux(Selinux),
    /// Draw what happened, and take what this node has to say of itself.
    #[command(subcommand)]
    Report(Report),
    /// Say and change what this node is to be.
    #[command(subcommand)]
    Settings(Settings),
    /// Ask this node's API as programs do.
    Api(Api),
    /// Start a program in a host container that runs, as the user and with the variables of its image. It has no terminal; it ends
    /// with this command, and this command with its exit code.
    Exec(Exec),
    /// Publish releases.
    #[command(subcommand)]
    Release(Release),
    /// Make Secure Boot's keys, and use them.
    #[command(subcommand)]
    Keys(Keys),
    /// Add kernel arguments on this machine, and take them away.
    #[command(subcommand)]
    Kargs(Kargs),
    /// Print a shell's completions.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages.
    Man {
        /// Into which directory.
        directory: PathBuf,
    },
    /// What units run.
    #[command(subcommand, hide = true)]
    Internal(Internal),
}

/// How progress is shown.
#[derive(Debug, Clone, ClapArgs)]
pub struct Progress {
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
    /// Write progress as JSON lines to this file descriptor.
    #[arg(long, value_name = "FD")]
    pub progress_fd: Option<i32>,
}

/// `install`.
#[derive(Debug, Subcommand)]
pub enum Install {
    /// Partition and format a disk, and install the image this runs in, or another.
    ToDisk(ToDisk),
    /// Install into file systems that are made and mounted already.
    ToFilesystem(ToFilesystem),
}

/// What to install.
#[derive(Debug, Clone, ClapArgs)]
pub struct Source {
    /// The image to install; the one this runs in where absent.
    #[arg(long, value_name = "REFERENCE")]
    pub source_imgref: Option<String>,
    /// The image the node follows afterwards; the source where absent.
    #[arg(long, value_name = "REFERENCE")]
    pub target_imgref: Option<String>,
    /// Transport of --target-imgref.
    #[arg(long, default_value = "registry")]
    pub target_transport: String,
    /// The channel the node follows afterwards, by the root metadata of the image.
    #[arg(long, value_name = "NAME", requires = "target_from")]
    pub target_channel: Option<String>,
    /// Where the channel's metadata is.
    #[arg(long, value_name = "PLACE", requires = "target_channel")]
    pub target_from: Option<String>,
    /// The policy that must allow the image, or 'unsigned' to install whatever it is; that of the image this runs in
    /// where absent.
    #[arg(long, value_name = "FILE|unsigned")]
    pub policy: Option<String>,
    /// Have the machine enrol the keys of this directory of 'rocketctl keys' when it first boots in setup mode.
    #[arg(long, value_name = "DIRECTORY")]
    pub secure_boot_keys: Option<PathBuf>,
    /// Add this kernel argument on the machine: an addon's file, which alone counts under Secure Boot, or an argument.
    #[arg(long, value_name = "ARGUMENT|FILE")]
    pub karg: Vec<String>,
    /// Progress.
    #[command(flatten)]
    pub progress: Progress,
}

/// File systems a root can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Filesystem {
    /// With fs-verity.
    Ext4,
}

/// `install to-disk`.
#[derive(Debug, ClapArgs)]
pub struct ToDisk {
    /// The disk.
    pub device: PathBuf,
    /// Destroy what is on the disk.
    #[arg(long)]
    pub wipe: bool,
    /// File system of the root; the image's default where absent.
    #[arg(long)]
    pub filesystem: Option<Filesystem>,
    /// Give /var a partition of its own.
    #[arg(long)]
    pub separate_var: bool,
    /// What to install.
    #[command(flatten)]
    pub source: Source,
}

/// `install to-filesystem`.
#[derive(Debug, ClapArgs)]
pub struct ToFilesystem {
    /// Where the root file system is mounted.
    pub root: PathBuf,
    /// Where the EFI system partition is mounted; <ROOT>/efi or <ROOT>/boot where absent.
    #[arg(long)]
    pub esp: Option<PathBuf>,
    /// What to install.
    #[command(flatten)]
    pub source: Source,
}

/// `upgrade`.
#[derive(Debug, ClapArgs)]
pub struct Upgrade {
    /// Only say whether there is something newer.
    #[arg(long, conflicts_with_all = ["apply", "download_only"])]
    pub check: bool,
    /// Bring everything, but leave the boot order alone.
    #[arg(long, conflicts_with_all = ["check", "apply"])]
    pub download_only: bool,
    /// Boot next what --download-only brought, without asking the registry.
    #[arg(long, conflicts_with_all = ["check", "download_only"])]
    pub from_downloaded: bool,
    /// Take the newest release of the channel before this node's turn.
    #[arg(long, conflicts_with = "from_downloaded")]
    pub now: bool,
    /// Try again a release that failed here.
    #[arg(long, conflicts_with = "from_downloaded")]
    pub retry: bool,
    /// Reboot into what boots next, if that is not what runs.
    #[arg(long)]
    pub apply: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub json: bool,
    /// Progress.
    #[command(flatten)]
    pub progress: Progress,
}

/// `switch`.
#[derive(Debug, ClapArgs)]
pub struct Switch {
    /// The image to follow.
    #[arg(required_unless_present = "channel", conflicts_with = "channel")]
    pub target: Option<String>,
    /// The channel to follow.
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// Where the channel's metadata is: docker://registry/repository, https://…, http://… or dir:path; the place that is
    /// followed already where absent.
    #[arg(long, value_name = "PLACE", requires = "channel")]
    pub from: Option<String>,
    /// The root metadata to believe what is there by; the image's where absent.
    #[arg(long, value_name = "FILE", requires = "channel")]
    pub root: Option<PathBuf>,
    /// Transport of the target, where it does not begin with one.
    #[arg(long, default_value = "registry")]
    pub transport: String,
    /// Reboot into it.
    #[arg(long)]
    pub apply: bool,
    /// Keep what runs now, as `pin` does.
    #[arg(long)]
    pub retain: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub json: bool,
    /// Progress.
    #[command(flatten)]
    pub progress: Progress,
}

/// `rollback`.
#[derive(Debug, ClapArgs)]
pub struct Rollback {
    /// To which deployment, by the beginning of its id.
    #[arg(long, value_name = "DEPLOYMENT")]
    pub to: Option<String>,
    /// Reboot into it.
    #[arg(long)]
    pub apply: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Forms of `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Humanreadable,
    /// bootc's host document, with our facts beside it.
    Json,
}

/// `status`.
#[derive(Debug, ClapArgs)]
pub struct Status {
    /// The form.
    #[arg(long)]
    pub format: Option<Format>,
    /// The same as --format=json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Version of the JSON form.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1))]
    pub format_version: u32,
    /// Only what runs.
    #[arg(long)]
    pub booted: bool,
}

/// A deployment.
#[derive(Debug, ClapArgs)]
pub struct Deployment {
    /// The beginning of its id.
    pub deployment: String,
}

/// `health`.
#[derive(Debug, ClapArgs)]
pub struct Health {
    /// What they came to last; nothing is checked.
    #[arg(long)]
    pub last: bool,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `prune`.
#[derive(Debug, ClapArgs)]
pub struct Prune {
    /// Only say what would go.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `image`.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Check an unpacked image.
    Lint {
        /// Its root; the one this runs in where absent.
        #[arg(long, default_value = "/")]
        root: PathBuf,
        /// The folder of the rules that images are sealed by; the sealer's where absent.
        #[arg(long)]
        rules: Option<PathBuf>,
        /// A check to leave out.
        #[arg(long, value_name = "CHECK")]
        skip: Vec<String>,
        /// Let warnings fail too.
        #[arg(long)]
        fatal_warnings: bool,
        /// List the checks.
        #[arg(long)]
        list: bool,
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Split a root into layers and seal it with a kernel.
    Seal {
        /// The root to seal.
        #[arg(long)]
        root: PathBuf,
        /// Where the layers go.
        #[arg(long)]
        output: PathBuf,
        /// Sign loader and kernel by the db of this directory of 'rocketctl keys'.
        #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["secure_boot_key", "secure_boot_certificate"])]
        secure_boot_keys: Option<PathBuf>,
        /// Sign loader and kernel by this key: a file (PEM), pkcs11:<URI>, or exec:<PROGRAM>,<PUBLIC KEY>.
        #[arg(long, value_name = "KEY", requires = "secure_boot_certificate")]
        secure_boot_key: Option<String>,
        /// The key's certificate, in PEM or DER.
        #[arg(long, value_name = "FILE", requires = "secure_boot_key")]
        secure_boot_certificate: Option<PathBuf>,
        /// A host container that every node has, by the digest of its image beside this one, such as control=sha256:…; the variable
        /// HOST_CONTAINERS has more.
        #[arg(long, value_name = "NAME=DIGEST")]
        host_container: Vec<String>,
        /// Show no progress.
        #[arg(long)]
        quiet: bool,
    },
    /// Write an image to a file or folder for nodes without a network: as it is, with its signatures and the host containers that it names.
    Save(Save),
    /// Attach a document to an image in a registry.
    Attach {
        /// The image, with a tag or a digest.
        reference: String,
        /// The document.
        #[arg(long)]
        file: PathBuf,
        /// What it is.
        #[arg(long, value_name = "MEDIA-TYPE", default_value = "application/vnd.cyclonedx+json")]
        artifact_type: String,
    },
    /// Check an image's signatures by a policy, and say what was checked against what.
    Verify(Verify),
    /// Sign an image in a registry, in both of cosign's forms.
    Sign(Sign),
    /// Say what an image is, without bringing it.
    Inspect {
        /// The image.
        reference: String,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `image verify`.
#[derive(Debug, ClapArgs)]
pub struct Verify {
    /// The image.
    pub reference: String,
    /// The policy; this machine's where absent.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `image save`.
#[derive(Debug, ClapArgs)]
pub struct Save {
    /// The image.
    pub reference: String,
    /// Where it goes, which is not there yet: oci:<FOLDER>[:<TAG>] or oci-archive:<FILE>[:<TAG>].
    pub to: String,
    /// Leave out the host containers that the image names.
    #[arg(long)]
    pub without_host_containers: bool,
}

/// `image sign`.
#[derive(Debug, ClapArgs)]
pub struct Sign {
    /// The image, with a tag or a digest; an index is signed as such.
    pub reference: String,
    /// The private key: a file (PKCS#8 in PEM), pkcs11:<URI>, or exec:<PROGRAM>,<PUBLIC KEY>.
    #[arg(long, value_name = "KEY", required_unless_present = "signer")]
    pub key: Option<String>,
    /// A program that holds the key: it is given what to sign on standard input, and writes the signature, ECDSA in DER or
    /// RSA over the SHA-256, Ed25519 over the input itself, to standard output.
    #[arg(long, value_name = "PROGRAM", requires = "public_key", conflicts_with = "key")]
    pub signer: Option<PathBuf>,
    /// The public key of what --signer holds, in PEM.
    #[arg(long, value_name = "FILE", requires = "signer")]
    pub public_key: Option<PathBuf>,
}

/// What units run.
#[derive(Debug, Subcommand)]
pub enum Internal {
    /// Make the health checks before the boot is complete.
    Health,
    /// Look at the network for a check, and write what came of it.
    Look {
        /// The check's name.
        check: String,
    },
    /// Watch a release on trial until the end of its soak, and declare it good.
    Soak,
    /// Give its try back to a release on trial where the machine shuts down in order.
    Excuse,
    /// Leave a release on trial whose boot is not complete in time.
    Deadline,
    /// Make one step towards the image's loader, where nothing is on trial.
    Loader,
    /// Leave a release on trial that ended in emergency mode.
    Stranded,
    /// Look for something newer, and do with it what update.toml says.
    Update,
    /// Tell whom settings name how this node is.
    Metrics,
    /// Mend the ESP where a power cut left it mounted.
    CheckEsp,
    /// Load the host's firewall.
    Firewall,
    /// Have this node's settings in place before services start.
    Configure,
    /// Take the user data that waited for the network.
    HandIn,
    /// Say whether settings were in place.
    Configured,
    /// Grow the root file system to the end of its partition.
    Grow,
    /// Start a scrub when the kernel speaks of damage.
    WatchVerity,
    /// Do what the client on standard input asks.
    Serve,
    /// Say which images and files processes use to who asks on standard input.
    InUse,
    /// Attach and detach mounts for who asks on standard input.
    Mounts,
    /// Serve the API on the socket that is standard input.
    Api,
    /// Do what settings ask for before the node counts as configured.
    Bootstrap,
    /// See to the image of a host container.
    #[command(subcommand)]
    HostContainer(HostContainer),
}

//! The command line of `keys` and `kargs`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

/// `keys`.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make PK, KEK and db, and what enrols them.
    Init(InitKeys),
    /// Make the next PK, KEK and db, and the updates that lead machines from the old ones to them.
    Rotate(RotateSecureBoot),
    /// Sign programs that firmware starts: a loader, a UKI, an addon.
    Sign(SignProgram),
    /// Say whether programs are signed by db.
    Verify(VerifyProgram),
    /// Put kernel arguments into an addon, and sign it.
    Addon(MakeAddon),
    /// Make the update by which programs start no more, whoever signed them.
    Revoke(Revoke),
    /// Hand updates to this machine's firmware.
    Apply(Apply),
    /// Say what this machine's firmware does with programs.
    Status {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Who holds the keys.
#[derive(Debug, Clone, ClapArgs)]
pub struct Holders {
    /// The platform key: a file (PEM), pkcs11:<URI>, or exec:<PROGRAM>,<PUBLIC KEY>; a new file where absent.
    #[arg(long, value_name = "KEY")]
    pub pk: Option<String>,
    /// The key that signs updates of db and dbx, in the same words.
    #[arg(long, value_name = "KEY")]
    pub kek: Option<String>,
    /// The key that signs loaders and kernels, in the same words.
    #[arg(long, value_name = "KEY")]
    pub db: Option<String>,
    /// What the certificates are called; PK, KEK or db follows.
    #[arg(long, default_value = "Rocket OS")]
    pub name: String,
    /// Days that the certificates say they are valid; firmware does not look at it.
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub days: u32,
}

/// `keys init`.
#[derive(Debug, ClapArgs)]
pub struct InitKeys {
    /// A directory that is not there yet.
    pub dir: PathBuf,
    /// Who holds them.
    #[command(flatten)]
    pub holders: Holders,
}

/// `keys rotate`.
#[derive(Debug, ClapArgs)]
pub struct RotateSecureBoot {
    /// The directory of the keys that machines have.
    pub old: PathBuf,
    /// A directory that is not there yet.
    pub new: PathBuf,
    /// Who holds the new ones.
    #[command(flatten)]
    pub holders: Holders,
}

/// `keys sign`.
#[derive(Debug, ClapArgs)]
pub struct SignProgram {
    /// The program.
    pub program: PathBuf,
    /// The directory of the keys.
    #[arg(long, value_name = "DIRECTORY")]
    pub keys: PathBuf,
    /// Where the signed one goes; in place of the other where absent.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `keys verify`.
#[derive(Debug, ClapArgs)]
pub struct VerifyProgram {
    /// The programs.
    #[arg(required = true)]
    pub programs: Vec<PathBuf>,
    /// The certificate that db has.
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
}

/// `keys addon`.
#[derive(Debug, ClapArgs)]
pub struct MakeAddon {
    /// The arguments.
    #[arg(required = true)]
    pub arguments: Vec<String>,
    /// The directory of the keys.
    #[arg(long, value_name = "DIRECTORY")]
    pub keys: PathBuf,
    /// The addon.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// systemd's stub of addons; this image's where absent.
    #[arg(long, value_name = "FILE")]
    pub stub: Option<PathBuf>,
}

/// `keys revoke`.
#[derive(Debug, ClapArgs)]
pub struct Revoke {
    /// UKIs and loaders; of a directory, which is a root or a sealed image, all that are in it.
    #[arg(required = true)]
    pub programs: Vec<PathBuf>,
    /// The directory of the keys.
    #[arg(long, value_name = "DIRECTORY")]
    pub keys: PathBuf,
    /// The update of dbx.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// `keys apply`.
#[derive(Debug, ClapArgs)]
pub struct Apply {
    /// Signed updates (.auth); of a directory, all that are in it, in order of their names.
    #[arg(required = true)]
    pub updates: Vec<PathBuf>,
    /// Only say what they are.
    #[arg(long)]
    pub dry_run: bool,
}

/// `kargs`.
#[derive(Debug, Subcommand)]
pub enum Kargs {
    /// Say which kernel arguments were added on this machine.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Add kernel arguments, from the next boot on: an addon that 'rocketctl keys addon' signed, or, where Secure Boot is off,
    /// the arguments themselves.
    Add {
        /// An addon's file, or arguments.
        #[arg(required = true)]
        what: Vec<String>,
        /// What it is called here; the file's name where absent, or 'local'.
        #[arg(long)]
        name: Option<String>,
    },
    /// Remove what was added under a name.
    Remove {
        /// The name.
        name: String,
    },
}

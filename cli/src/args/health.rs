//! `scrub` and `verify`.

use clap::Args as ClapArgs;

/// `scrub`.
#[derive(Debug, ClapArgs)]
pub struct Scrub {
    /// Mend what is damaged; the default.
    #[arg(long, overrides_with = "no_repair")]
    pub repair: bool,
    /// Only say what is damaged.
    #[arg(long)]
    pub no_repair: bool,
    /// MiB to read a second; 0 for as fast as it goes.
    #[arg(long, value_name = "MIB", default_value_t = rocketos_store::RATE >> 20)]
    pub rate: u64,
    /// Reboot where what runs cannot be mended and another deployment boots next.
    #[arg(long, conflicts_with = "no_repair")]
    pub apply: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `verify`.
#[derive(Debug, ClapArgs)]
pub struct VerifyDeployment {
    /// Which deployment, by the beginning of its id; what runs where absent.
    pub deployment: Option<String>,
    /// Read every object of it again.
    #[arg(long)]
    pub full: bool,
    /// Ask no registry for signatures that were not kept.
    #[arg(long)]
    pub offline: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub json: bool,
}

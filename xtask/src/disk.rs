//! `disk`: makes a disk of an image, which installs itself in a small machine.

use std::path::PathBuf;

use anyhow::Result;
use rocketos_tests::installer::{self, Install};
use rocketos_tests::{Format, Progress, Tools};

/// What to install, and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image: a name in podman's storage, or any transport's reference (docker://…, oci:…).
    image: String,
    /// The disk's file; it is replaced.
    file: PathBuf,
    /// What the node follows; the image itself where it has a transport that nodes know.
    #[arg(long)]
    follow: Option<String>,
    /// The disk's size in GiB.
    #[arg(long, default_value_t = 8)]
    size: u32,
    /// What must allow the image: 'unsigned' installs whatever it is; the image's own policy where absent.
    #[arg(long, value_name = "unsigned", value_parser = ["unsigned"])]
    policy: Option<String>,
    /// Write the disk's bytes as they are, for a real disk, in place of qcow2.
    #[arg(long)]
    raw: bool,
}

/// Makes it.
pub fn run(args: &Args) -> Result<()> {
    let progress = Progress::new();
    let tools = Tools::ensure(&progress)?;
    let known = args.image.contains("://") || args.image.starts_with("oci");
    let source = if known { args.image.clone() } else { format!("containers-storage:{}", args.image) };
    let follow = args
        .follow
        .clone()
        .unwrap_or_else(|| if known { args.image.clone() } else { format!("docker://{}", args.image) });
    let mut install = Install::new(&source, &follow);
    install.size = args.size;
    install.arguments.extend(args.policy.iter().map(|policy| format!("--policy {policy}")));
    if args.raw {
        install.format = Format::Raw;
    }
    installer::disk(&tools, &progress, &install, &args.file)?;
    eprintln!("\n{}", progress.table());
    println!("{}", args.file.display());
    Ok(())
}

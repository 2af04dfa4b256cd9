//! What units run.

use std::path::Path;

use indicatif::HumanBytes;
use rocketos_deploy::{grow_root, unclean_esp};
use rocketos_settings::bootstrap::UNIT;

use super::follow;
use crate::{
    adapters::{fsck, systemctl},
    args::{HostContainer, Internal, Progress},
    automatic::{self, Looked},
    bootstrap, configure, firewall, health, host_containers, metrics,
    output::Reporter,
    updater,
};

/// Runs it.
pub fn run(verb: &Internal) -> anyhow::Result<()> {
    match verb {
        Internal::Health => health::gate(),
        Internal::Look { check } => health::look(check),
        Internal::Soak => health::soak(notify_ready),
        Internal::Excuse => health::excuse(),
        Internal::Deadline => health::deadline(),
        Internal::Loader => health::advance_loader(),
        Internal::Stranded => health::stranded(),
        Internal::Update => update(),
        Internal::Metrics => metrics::tell(),
        Internal::Api => crate::api::serve(),
        Internal::Serve => crate::updater::serve(),
        Internal::InUse => updater::answer_own(rocketos_store::in_use::answer),
        Internal::Mounts => host_containers::mount_for_others(),
        Internal::WatchVerity => crate::watch::run(),
        Internal::Firewall => firewall::load_all(),
        Internal::CheckEsp => check_esp(),
        Internal::Configure => {
            configure::at_boot();
            Ok(())
        }
        Internal::HandIn => configure::with_network(),
        Internal::Configured => configure::was_configured(Path::new("/"), || systemctl::has_job(UNIT)),
        Internal::Bootstrap => bootstrap::run(),
        Internal::HostContainer(HostContainer::Pull { name }) => host_containers::pull(name),
        Internal::HostContainer(HostContainer::Release { name }) => host_containers::release(name),
        Internal::Grow => {
            println!("The root file system has {}.", HumanBytes(grow_root()?));
            Ok(())
        }
    }
}

/// Has an ESP mended that a power cut left mounted, before anybody mounts it again.
fn check_esp() -> anyhow::Result<()> {
    let Some(esp) = unclean_esp()? else {
        return Ok(());
    };
    println!("{} was not unmounted: mending it.", esp.path().display());
    print!("{}", fsck::mend(esp.path())?);
    Ok(())
}

/// What the timer runs; what it prints is for the journal.
fn update() -> anyhow::Result<()> {
    let reporter = Reporter::new(&Progress { quiet: false, progress_fd: None })?;
    match automatic::look(&reporter)? {
        Looked::Off => println!("Updates by itself are off (update.toml)."),
        Looked::Stayed(advanced) => follow::end(false, &advanced)?,
        Looked::Rebooting(advanced) => {
            follow::end(false, &advanced)?;
            println!("Rebooting.");
        }
        Looked::Waits(advanced, reason) => {
            follow::end(false, &advanced)?;
            println!("The reboot waits: {reason}.");
        }
    }
    Ok(())
}

/// Tells systemd that what comes after need not wait; where nobody listens, nobody waits.
fn notify_ready() {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

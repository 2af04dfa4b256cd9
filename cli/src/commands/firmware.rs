//! What `install` leaves for the machine's firmware: keys to enrol, and kernel arguments.

use std::path::Path;

use anyhow::{Context as _, ensure};
use rocketos_boot::secure_boot::SecureBoot;
use rocketos_deploy::Node;
use rocketos_image::verify_signed;
use rocketos_trust::firmware::Variable;

use super::{kargs, keys::enrolment};
use crate::{args::Source, keyring::Keyring};

/// Read and checked before the disk is touched.
pub struct Firmware {
    keys: Vec<(&'static str, Vec<u8>)>,
}

impl Firmware {
    /// Reads the keys, and refuses those that did not sign the loader: a machine that enrolled them would start nothing.
    pub fn prepare(source: &Source, loader: &[u8]) -> anyhow::Result<Self> {
        let Some(dir) = &source.secure_boot_keys else {
            return Ok(Self { keys: Vec::new() });
        };
        let keyring = Keyring::open(dir)?;
        let certificate = keyring.certificate(Variable::Db)?;
        verify_signed(loader, &certificate).with_context(|| {
            format!(
                "looking whether {} signed this image's loader; seal the image with --secure-boot-keys {}",
                certificate.name(),
                dir.display()
            )
        })?;
        ensure!(
            source.karg.iter().all(|argument| Path::new(argument).is_file()),
            "under Secure Boot kernel arguments are addons: make them with 'rocketctl keys addon', and say --karg <FILE>"
        );
        Ok(Self { keys: enrolment(&keyring)? })
    }

    /// Leaves both on the ESP, and says what happens with the keys.
    pub fn leave(&self, node: &Node, arguments: &[String]) -> anyhow::Result<()> {
        let (files, words): (Vec<String>, Vec<String>) =
            arguments.iter().cloned().partition(|argument| Path::new(argument).is_file());
        for file in files {
            kargs::add(&node.esp, &[file], None, false, None)?;
        }
        if !words.is_empty() {
            kargs::add(&node.esp, &words, None, false, None)?;
            println!(
                "These arguments are not signed: with Secure Boot they do not count (see 'rocketctl keys addon')."
            );
        }
        if self.keys.is_empty() {
            return Ok(());
        }
        node.esp.leave_keys(self.keys.iter().map(|(name, bytes)| (*name, bytes.as_slice())))?;
        node.flush()?;
        let elsewhere = "Where another machine gets this disk, the same holds for that one.";
        match SecureBoot::of_machine().unwrap_or(SecureBoot::Absent) {
            SecureBoot::Setup => println!("Firmware is in setup mode: the first boot enrols the keys, and restarts."),
            SecureBoot::Enforcing | SecureBoot::Off => println!(
                "Firmware has keys already, so it takes no others from this disk: delete its PK in its setup (\"setup mode\", \
                 \"clear keys\"); the next boot enrols these, and restarts. {elsewhere}"
            ),
            SecureBoot::Absent => println!(
                "This machine has no Secure Boot. The machine that boots this disk enrols the keys when its firmware is in \
                 setup mode: delete its PK in its setup (\"setup mode\", \"clear keys\")."
            ),
        }
        Ok(())
    }
}

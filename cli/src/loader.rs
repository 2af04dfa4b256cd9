//! The loader of the running image, on this machine's ESP.

use std::path::Path;

use anyhow::Context as _;
use rocketos_boot::loader::{Firmware, loader_version};
use rocketos_deploy::{LoaderState, LoaderUpdate, Lock, Node};
use rocketos_model::{layout, limits};
use serde_json::{Value, json};

use crate::journal;

/// The kernel's name of this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The image's loader and the firmware it is for.
struct Here {
    loader: Vec<u8>,
    firmware: Option<Firmware>,
    boot: String,
}

impl Here {
    fn new(node: &Node) -> anyhow::Result<Self> {
        let path = Path::new("/").join(layout::image::LOADER);
        let size = std::fs::metadata(&path).with_context(|| format!("looking at {}", path.display()))?.len();
        anyhow::ensure!(size <= limits::LOADER_BYTES, "{} has {size} bytes", path.display());
        let loader = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let boot = std::fs::read_to_string(BOOT_ID).with_context(|| format!("reading {BOOT_ID}"))?;
        let esp = node.booted.as_ref().map(|booted| Path::new(&booted.esp));
        let firmware = esp.map(Firmware::of_machine).transpose()?.flatten();
        Ok(Self { loader, firmware, boot: boot.trim_end().to_owned() })
    }

    fn update(&self) -> LoaderUpdate<'_> {
        LoaderUpdate { firmware: self.firmware.as_ref(), loader: &self.loader, boot: &self.boot }
    }

    fn name(&self) -> String {
        loader_version(&self.loader).map_or_else(|| "loader".to_owned(), |version| format!("systemd-boot {version}"))
    }
}

fn words(state: &LoaderState) -> &'static str {
    match state {
        LoaderState::Current => "in use",
        LoaderState::Trying => "starts the next boot, once",
        LoaderState::Proving => "runs, and is kept once this boot is good",
        LoaderState::Available => "is to be tried once this boot is good",
        LoaderState::Older => "is older than the one in use, which stays",
        LoaderState::Failed => "did not come up; the one before stays",
        LoaderState::NoVariables => "cannot be tried, for this firmware keeps no variables; the one in use stays",
    }
}

/// What is with the image's loader, for people and for programs.
pub fn outlook(node: &Node) -> anyhow::Result<(String, Value)> {
    let here = Here::new(node)?;
    let state = here.update().state(node)?;
    let document = json!({ "state": state, "version": loader_version(&here.loader) });
    Ok((format!("{} {}", here.name(), words(&state)), document))
}

/// One step towards the image's loader, in a boot that is good; where there is none to go, nobody is kept waiting by
/// `locked`.
pub fn advance(locked: impl FnOnce() -> anyhow::Result<(Node, Lock)>) -> anyhow::Result<()> {
    let node = Node::running()?;
    let here = Here::new(&node)?;
    let before = here.update().state(&node)?;
    drop(node);
    let state = match before {
        LoaderState::Available | LoaderState::Proving => {
            let (node, _lock) = locked()?;
            here.update().advance(&node)?
        }
        other => other,
    };
    let text = format!("The image's {} {}.", here.name(), words(&state));
    println!("{text}");
    match state {
        LoaderState::Failed => journal::say_loudly(journal::LOADER_FAILED, &text, &[]),
        _ if state != before => journal::say(journal::LOADER, &text, &[]),
        _ => {}
    }
    Ok(())
}

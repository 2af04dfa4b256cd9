//! `kargs`: kernel arguments of this machine, beside those that were sealed.
//!
//! They are addons on the ESP. Under Secure Boot the stub takes those that are signed, and says nothing of the others; a sealed
//! image takes what it allows, whoever signed it, and does not boot with anything else. So both are looked at before.

use std::{fs, io, path::Path};

use anyhow::{Context as _, bail, ensure};
use rocketos_boot::{Esp, secure_boot::SecureBoot, uki};
use rocketos_deploy::Node;
use rocketos_image::addon;
use rocketos_model::{
    cmdline::{Allowed, split},
    layout, limits,
};
use serde_json::json;

use crate::args::Kargs;

/// How an addon's file ends.
const ADDON: &str = ".addon.efi";
/// What arguments without a file are called.
const LOCAL: &str = "local";

/// Does it.
pub fn run(verb: &Kargs) -> anyhow::Result<()> {
    match verb {
        Kargs::List { json } => list(*json),
        Kargs::Add { what, name } => {
            let allowed = match fs::read_to_string(layout::node::ALLOWED) {
                Ok(text) => Some(Allowed::parse(&text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error).with_context(|| format!("reading {}", layout::node::ALLOWED)),
            };
            let secure = SecureBoot::of_machine()? == SecureBoot::Enforcing;
            let (node, _lock) = Node::locked("kargs add")?;
            add(&node.esp, what, name.as_deref(), secure, allowed.as_ref())
        }
        Kargs::Remove { name } => {
            let (node, _lock) = Node::locked("kargs remove")?;
            ensure!(node.esp.remove_addon(name)?, "no kernel arguments were added under the name '{name}'");
            println!("What '{name}' added is gone from the next boot on.");
            Ok(())
        }
    }
}

fn list(json: bool) -> anyhow::Result<()> {
    let addons = Node::running()?.esp.addons()?;
    if json {
        let all: Vec<_> = addons
            .iter()
            .map(|addon| json!({ "name": addon.name, "arguments": addon.arguments.as_deref().ok() }))
            .collect();
        println!("{}", json!(all));
        return Ok(());
    }
    for addon in addons {
        match addon.arguments {
            Ok(arguments) => println!("{}: {arguments}", addon.name),
            Err(error) => println!("{}: no addon: {error}", addon.name),
        }
    }
    Ok(())
}

/// Adds one addon: a file that is one already, or made here of arguments.
pub fn add(
    esp: &Esp,
    what: &[String],
    name: Option<&str>,
    secure: bool,
    allowed: Option<&Allowed>,
) -> anyhow::Result<()> {
    let file = match what {
        [one] if one.ends_with(ADDON) => Some(Path::new(one)),
        _ => None,
    };
    let (bytes, default) = match file {
        Some(path) => (read(path)?, path.file_name().map(|name| name.to_string_lossy().replace(ADDON, ""))),
        None if secure => bail!(
            "firmware starts only what is signed, and takes no argument that is not: where the keys are, say \
             'rocketctl keys addon --keys <DIRECTORY> --output <NAME>{ADDON} {}', and add that file here",
            what.join(" ")
        ),
        None => (addon(&read(&Path::new("/").join(layout::image::ADDON_STUB))?, &what.join(" "), None)?, None),
    };
    let arguments = uki::cmdline(&bytes).context("reading what the addon adds")?;
    if let Some(allowed) = allowed
        && let Some(word) = split(&arguments).find(|word| !allowed.allows(word))
    {
        bail!(
            "this image does not take '{word}', and would not boot with it; a variant allows more in its cmdline.allowed"
        );
    }
    let name = name.map(str::to_owned).or(default).unwrap_or_else(|| LOCAL.to_owned());
    esp.add_addon(&name, &bytes)?;
    println!("'{name}' adds '{arguments}' from the next boot on.");
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let size = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len();
    ensure!(size <= limits::LOADER_BYTES, "{} has {size} bytes, more than {}", path.display(), limits::LOADER_BYTES);
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

//! `settings`: what this node is to be, by its API.

mod words;

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, ensure};
use rocketos_api::wire::{Difference, History, Locked, Shown, Unset};
use rocketos_settings::{Key, Tree, pairs, userdata};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::api::piped;
use crate::{
    api::Client,
    args::{
        Changing, Settings, SettingsApply, SettingsDiff, SettingsGet, SettingsSchema, SettingsSet, SettingsShown,
        SettingsUndo, SettingsUnset,
    },
};

/// Where settings are.
const PATH: &str = "/v1/settings";

/// Asks for what was typed, and says what came of it.
pub fn run(verb: &Settings) -> anyhow::Result<()> {
    match verb {
        Settings::Get(args) => get(args),
        Settings::Set(args) => set(args),
        Settings::Unset(args) => unset(args),
        Settings::Apply(args) => apply(args),
        Settings::Diff(args) => diff(args),
        Settings::History(args) => history(args),
        Settings::Undo(args) => undo(args),
        Settings::Lock(args) => lock(args),
        Settings::Boot(args) => boot(args),
        Settings::Schema(args) => schema(args),
    }
}

/// A path with what its query has.
fn path(path: &str, query: &[(&str, Option<String>)]) -> String {
    let mut written = Serializer::new(String::new());
    for (name, value) in query {
        if let Some(value) = value {
            written.append_pair(name, value);
        }
    }
    match written.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// A word of a query that stands for yes.
fn yes(given: bool) -> Option<String> {
    given.then(|| "true".to_owned())
}

fn get(args: &SettingsGet) -> anyhow::Result<()> {
    let query = [("prefix", args.key.clone()), ("origins", yes(args.origins))];
    let reply = Client::at(&args.asked.socket)?.ask("GET", &path(PATH, &query), None, None)?;
    match args.json {
        true => println!("{}", reply.json()?),
        false => print!("{}", words::shown(&reply.read::<Shown>()?)?),
    }
    Ok(())
}

/// Has settings changed, and says what came of it.
fn change(changing: &Changing, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<()> {
    let reply = Client::at(&changing.asked.socket)?.ask(method, path, changing.if_match, body)?;
    match changing.json {
        true => println!("{}", reply.json()?),
        false => print!("{}", words::receipt(&reply.read()?)),
    }
    Ok(())
}

fn set(args: &SettingsSet) -> anyhow::Result<()> {
    let mut tree = args.file.as_deref().map(document).transpose()?.unwrap_or_default();
    for pair in &args.pairs {
        let (key, value) = pairs::parse(pair)?;
        tree.set(&key, value).with_context(|| format!("setting {key}"))?;
    }
    let query = [("dry-run", yes(args.changing.dry_run)), ("why", args.why.clone())];
    change(&args.changing, "PATCH", &path(PATH, &query), Some(&tree.to_value()))
}

/// The settings of a document.
fn document(file: &Path) -> anyhow::Result<Tree> {
    let doing = || format!("reading {}", file.display());
    let bytes = match file == Path::new("-") {
        true => piped()?.into_bytes(),
        false => {
            let mut bytes = Vec::new();
            let most = userdata::DOCUMENT_BYTES as u64;
            File::open(file).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).with_context(doing)?;
            ensure!(bytes.len() as u64 <= most, "{} has more than {most} bytes", file.display());
            bytes
        }
    };
    let document = userdata::parse(&bytes).with_context(doing)?;
    ensure!(document.include.is_empty(), "only user data includes other documents: bring them together first");
    Ok(document.tree)
}

fn unset(args: &SettingsUnset) -> anyhow::Result<()> {
    let keys = args.keys.iter().map(|key| key.parse::<Key>().map(|key| key.to_string()));
    let keys: Vec<String> = keys.collect::<Result<_, _>>()?;
    let query = [("dry-run", yes(args.changing.dry_run)), ("why", args.why.clone())];
    change(&args.changing, "POST", &path(&format!("{PATH}/unset"), &query), Some(&json!(Unset { keys })))
}

fn apply(args: &SettingsApply) -> anyhow::Result<()> {
    let (json, dry_run, asked) = (args.json, args.dry_run, args.asked.clone());
    let path = path(&format!("{PATH}/apply"), &[("dry-run", yes(dry_run))]);
    change(&Changing { dry_run, if_match: None, json, asked }, "POST", &path, None)
}

fn undo(args: &SettingsUndo) -> anyhow::Result<()> {
    let query = [("dry-run", yes(args.changing.dry_run)), ("to", args.to.map(|to| to.to_string()))];
    change(&args.changing, "POST", &path(&format!("{PATH}/undo"), &query), None)
}

fn diff(args: &SettingsDiff) -> anyhow::Result<()> {
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let path = path(&format!("{PATH}/diff"), &[("from", number(args.from)), ("to", number(args.to))]);
    let reply = Client::at(&args.asked.socket)?.ask("GET", &path, None, None)?;
    match args.json {
        true => println!("{}", reply.json()?),
        false => print!("{}", words::changes(&reply.read::<Difference>()?.settings)),
    }
    Ok(())
}

fn history(args: &SettingsShown) -> anyhow::Result<()> {
    let reply = Client::at(&args.asked.socket)?.ask("GET", &format!("{PATH}/generations"), None, None)?;
    match args.json {
        true => println!("{}", reply.json()?),
        false => print!("{}", words::history(&reply.read::<History>()?)),
    }
    Ok(())
}

fn lock(args: &SettingsShown) -> anyhow::Result<()> {
    let reply = Client::at(&args.asked.socket)?.ask("POST", &format!("{PATH}/lock"), None, None)?;
    match args.json {
        true => println!("{}", reply.json()?),
        false => {
            let Locked { by, at } = reply.read()?;
            println!("Settings are locked until the next boot, by {by} since {at}.");
        }
    }
    Ok(())
}

fn boot(args: &SettingsShown) -> anyhow::Result<()> {
    let reply = Client::at(&args.asked.socket)?.ask("GET", &format!("{PATH}/boot"), None, None)?;
    match args.json {
        true => println!("{}", reply.json()?),
        false => print!("{}", words::boot(&reply.read()?)),
    }
    Ok(())
}

fn schema(args: &SettingsSchema) -> anyhow::Result<()> {
    let reply = Client::at(&args.asked.socket)?.ask("GET", &format!("{PATH}/schema"), None, None)?;
    println!("{:#}", reply.json()?);
    Ok(())
}

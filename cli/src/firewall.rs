//! The host's firewall: loads what is declared, and remembers what was loaded.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rocketos_firewall::{Broken, Declared, Opening, load};
use rocketos_model::layout;
use serde_json::{Value, json};

use crate::{adapters::nft, exit, journal};

/// Declarations that say nothing that is understood.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the firewall's declarations are left out; 'rocketctl firewall show' names them")]
pub struct LeftOut(pub usize);

/// Loads what is declared below `/`. What is wrong with a file is said, and nothing of it is open; the rest is.
///
/// # Errors
/// When nothing could be loaded: then nobody must come in, and systemd starts no network.
pub fn load_all() -> anyhow::Result<()> {
    let root = Path::new("/");
    let declared = match load(root) {
        Ok(declared) => declared,
        // Closed is better than not loaded.
        Err(error) => {
            let problem = exit::causes(&error);
            Declared { open: Vec::new(), broken: vec![Broken { declared_by: "firewall.d".to_owned(), problem }] }
        }
    };
    nft::load(&declared.script()).context("loading the firewall")?;
    println!("The firewall is loaded; {} openings are declared.", declared.open.len());
    for Broken { declared_by, problem } in &declared.broken {
        let text = format!("The firewall leaves {declared_by} out: {problem}");
        eprintln!("{text}");
        journal::say_loudly(journal::FIREWALL_LEFT_OUT, &text, &[("ROCKETOS_FILE", declared_by)]);
    }
    // The filter holds without it; only `show` will not know.
    if let Err(error) = remember(&declared) {
        eprintln!("rocketctl: {}", exit::chain(&error));
    }
    Ok(())
}

fn remember(declared: &Declared) -> anyhow::Result<()> {
    let path = Path::new(layout::node::FIREWALL);
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, document(declared).to_string())
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("writing {}", path.display()))
}

/// Declarations as a document.
fn document(Declared { open, broken }: &Declared) -> Value {
    json!({ "open": open, "broken": broken })
}

/// What is declared below a root, and whether that is what was loaded.
pub struct Shown {
    declared: Declared,
    /// Absent where the root is not this node's.
    loaded: Option<bool>,
}

impl Shown {
    /// Reads it.
    pub fn of(root: &Path) -> anyhow::Result<Self> {
        let declared = load(root)?;
        let loaded = (root == Path::new("/")).then(|| is_loaded(&declared, &PathBuf::from(layout::node::FIREWALL)));
        Ok(Self { declared, loaded })
    }

    /// For `nft`.
    pub fn script(&self) -> String {
        self.declared.script()
    }

    /// For programs.
    pub fn document(&self) -> Value {
        let mut document = document(&self.declared);
        if let Some(loaded) = self.loaded {
            document["loaded"] = loaded.into();
        }
        document
    }

    /// For people.
    pub fn in_words(&self) -> String {
        let mut lines = Vec::new();
        for declaration in &self.declared.open {
            let Opening { protocol, port, from, interface, reason } = &declaration.opening;
            let from = from.as_ref().map(|networks| {
                let all: Vec<String> = networks.iter().map(ToString::to_string).collect();
                format!(" from {}", all.join(", "))
            });
            let by = interface.as_ref().map(|name| format!(" by {name}"));
            let (from, by) = (from.unwrap_or_default(), by.unwrap_or_default());
            lines.push(format!("{port}/{protocol}{from}{by}: {reason} ({})", declaration.declared_by));
        }
        if self.declared.open.is_empty() {
            lines.push("Nothing is declared open.".to_owned());
        }
        for Broken { declared_by, problem } in &self.declared.broken {
            lines.push(format!("Left out: {declared_by}: {problem}"));
        }
        if self.loaded == Some(false) {
            lines.push("This is not what is loaded; 'systemctl reload rocketos-firewall' loads it.".to_owned());
        }
        lines.join("\n") + "\n"
    }

    /// # Errors
    /// When a file is left out.
    pub fn sound(&self) -> Result<(), LeftOut> {
        match self.declared.broken.len() {
            0 => Ok(()),
            broken => Err(LeftOut(broken)),
        }
    }
}

/// True where what is written down of the last load is this.
fn is_loaded(declared: &Declared, written: &Path) -> bool {
    let text = fs::read_to_string(written).unwrap_or_default();
    serde_json::from_str::<Value>(&text).is_ok_and(|loaded| loaded == document(declared))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, name: &str, text: &str) {
        let folder = root.join("etc/rocketos/firewall.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn says_what_is_open_who_declared_it_and_what_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let shown = Shown::of(root.path()).unwrap();
        assert_eq!(shown.in_words(), "Nothing is declared open.\n");
        let more = "from = ['10.0.0.0/8', 'fd00::/8']\ninterface = 'eth1'\n";
        let opening = format!("[[open]]\nprotocol = 'tcp'\nport = '80-81'\nreason = 'the web'\n{more}");
        put(root.path(), "web.toml", &opening);
        let shown = Shown::of(root.path()).unwrap();
        let said = "80-81/tcp from 10.0.0.0/8, fd00::/8 by eth1: the web (/etc/rocketos/firewall.d/web.toml)\n";
        assert_eq!(shown.in_words(), said);
        let open = &shown.document()["open"][0];
        assert_eq!(
            (&open["port"], &open["declared_by"]),
            (&json!("80-81"), &json!("/etc/rocketos/firewall.d/web.toml"))
        );
        assert!(shown.sound().is_ok() && shown.script().contains("tcp dport 80-81 accept"));
        put(root.path(), "bad.toml", "[[open]]\n");
        let shown = Shown::of(root.path()).unwrap();
        assert!(shown.in_words().contains("Left out: /etc/rocketos/firewall.d/bad.toml: "), "{}", shown.in_words());
        assert!(shown.sound().unwrap_err().to_string().contains("'rocketctl firewall show'"));
    }

    #[test]
    fn knows_whether_it_is_what_was_loaded() {
        let root = tempfile::tempdir().unwrap();
        let written = root.path().join("firewall.json");
        let declared = load(root.path()).unwrap();
        assert!(!is_loaded(&declared, &written));
        fs::write(&written, document(&declared).to_string()).unwrap();
        assert!(is_loaded(&declared, &written));
        put(root.path(), "a.toml", "[[open]]\nprotocol = 'tcp'\nport = 1\nreason = 'a'\n");
        assert!(!is_loaded(&load(root.path()).unwrap(), &written));
    }
}

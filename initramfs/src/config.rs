//! What the image wants of its root, /etc and /var: composefs-setup-root's file, read from the verified image.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rocketos_model::{layout, limits};
use rustix::fs::ResolveFlags;
use serde::Deserialize;

use crate::root::read_text;

/// How a directory is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mount {
    /// The image's, read-only.
    None,
    /// The node's, in place of the image's.
    Bind,
    /// The image's, with changes kept on the node.
    Overlay,
    /// The image's, with changes kept in memory.
    Transient,
}

/// One section of the file.
#[derive(Debug, Default, Deserialize)]
struct Section {
    mount: Option<Mount>,
    #[serde(default)]
    transient: bool,
}

impl Section {
    /// `mount` outranks `transient`, as in composefs-setup-root.
    fn or(self, default: Mount) -> Mount {
        match (self.mount, self.transient) {
            (Some(mount), _) => mount,
            (None, true) => Mount::Transient,
            (None, false) => default,
        }
    }
}

/// Other keys belong to other programs that read the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    root: Section,
    etc: Section,
    var: Section,
}

/// What the image wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// `/` itself: [`Mount::None`] or [`Mount::Transient`].
    pub root: Mount,
    /// `/etc`; in memory unless the image says otherwise, where composefs-setup-root would keep changes.
    pub etc: Mount,
    /// `/var`; the node's unless the image says otherwise.
    pub var: Mount,
}

impl Config {
    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let File { root, etc, var } = toml::from_str(text)?;
        let (etc, var) = (etc.or(Mount::Transient), var.or(Mount::Bind));
        if !root.transient {
            return Ok(Self { root: Mount::None, etc, var });
        }
        // A root that changes in memory covers what is below it, and an overlay on an overlay on an overlay is one more
        // than the kernel allows (FILESYSTEM_MAX_STACK_DEPTH).
        let covered = |mount| match mount {
            Mount::Transient => Mount::None,
            other => other,
        };
        Ok(Self { root: Mount::Transient, etc: covered(etc), var: covered(var) })
    }

    /// Reads the image's file; an image without one gets the defaults.
    pub fn read(new_root: &OwnedFd) -> Result<Self> {
        let path = layout::image::SETUP_ROOT;
        let text = read_text(new_root, path, ResolveFlags::IN_ROOT, limits::CONFIG_FILE_BYTES)
            .with_context(|| format!("reading the image's /{path}"))?;
        Self::parse(&text.unwrap_or_default()).with_context(|| format!("reading the image's /{path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_file() {
        for (text, root, etc, var) in [
            ("", Mount::None, Mount::Transient, Mount::Bind),
            ("[etc]\ntransient = true", Mount::None, Mount::Transient, Mount::Bind),
            ("[etc]\nmount = \"overlay\"", Mount::None, Mount::Overlay, Mount::Bind),
            ("[etc]\nmount = \"bind\"\ntransient = true", Mount::None, Mount::Bind, Mount::Bind),
            ("[etc]\nmount = \"none\"", Mount::None, Mount::None, Mount::Bind),
            (
                "[root]\ntransient = true\n[var]\nmount = \"none\"\n[other]\nx = 1",
                Mount::Transient,
                Mount::None,
                Mount::None,
            ),
        ] {
            assert_eq!(Config::parse(text).unwrap(), Config { root, etc, var }, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(Config::parse("[etc]\nmount = \"tmpfs\"").is_err());
        assert!(Config::parse("etc = 1").is_err());
    }
}

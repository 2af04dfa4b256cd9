//! containers-registries.conf(5), version 2: where a repository really is.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rocketos_model::limits;
use serde::Deserialize;

use crate::{ConfigError, OciError};

/// How a registry may be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// HTTPS with a certificate we trust.
    Verified,
    /// `insecure = true`: HTTPS with any certificate, or else HTTP.
    Insecure,
}

impl From<bool> for Transport {
    fn from(insecure: bool) -> Self {
        match insecure {
            true => Self::Insecure,
            false => Self::Verified,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    registry: Vec<Registry>,
    registries: Option<toml::Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: PullFromMirror,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFromMirror {
    /// As `mirror-by-digest-only` of the registry says.
    #[serde(rename = "")]
    #[default]
    Unset,
    All,
    DigestOnly,
    TagOnly,
}

/// How an image is asked for; mirrors may serve only one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A name that may move.
    Tag,
    /// A digest.
    Digest,
}

/// One place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Host and optional port.
    pub host: String,
    /// Repository there.
    pub repository: String,
    /// How to speak to it.
    pub transport: Transport,
}

/// What all files together say.
#[derive(Debug, Clone, Default)]
pub struct RegistriesConf {
    /// By prefix.
    registries: BTreeMap<String, Registry>,
}

/// Reads a file under its limit; absent is `None`.
pub(crate) fn read_config(path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    match fs::metadata(path) {
        Ok(found) if found.len() > limits::CONFIG_FILE_BYTES => {
            return Err(ConfigError::TooLong(limits::CONFIG_FILE_BYTES));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ConfigError::Io(error)),
    }
    fs::read(path).map(Some).map_err(ConfigError::Io)
}

impl RegistriesConf {
    /// Reads `file` and every `*.conf` in `directories`, in the order of their names; of two entries for one prefix the
    /// later counts. What is absent says nothing.
    ///
    /// # Errors
    /// When a file is unreadable or says something else than containers-registries.conf(5).
    pub fn read(file: Option<&Path>, directories: &[PathBuf]) -> Result<Self, OciError> {
        let mut files: Vec<PathBuf> = file.map(Path::to_owned).into_iter().collect();
        for directory in directories {
            let Ok(entries) = fs::read_dir(directory) else { continue };
            let mut drop_ins: Vec<PathBuf> = entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
                .collect();
            drop_ins.sort();
            files.append(&mut drop_ins);
        }
        let mut conf = Self::default();
        for path in files {
            conf.read_one(&path).map_err(|source| OciError::Config { path, source })?;
        }
        Ok(conf)
    }

    fn read_one(&mut self, path: &Path) -> Result<(), ConfigError> {
        match read_config(path)? {
            Some(bytes) => self.add(&String::from_utf8_lossy(&bytes)),
            None => Ok(()),
        }
    }

    /// Adds the text of one file.
    ///
    /// # Errors
    /// As [`RegistriesConf::read`].
    pub fn add(&mut self, text: &str) -> Result<(), ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| ConfigError::Toml(Box::new(error)))?;
        if file.registries.is_some() {
            return Err(ConfigError::Version1);
        }
        for mut registry in file.registry {
            if registry.prefix.is_empty() {
                registry.prefix.clone_from(&registry.location);
            }
            if registry.prefix.is_empty() {
                return Err(ConfigError::Nameless);
            }
            let locations = registry.mirror.iter().map(|mirror| &mirror.location);
            for location in locations.chain(Some(&registry.location).filter(|location| !location.is_empty())) {
                if location.is_empty() || location.contains("://") || location.starts_with('/') {
                    return Err(ConfigError::Location(location.clone()));
                }
            }
            self.registries.insert(registry.prefix.clone(), registry);
        }
        Ok(())
    }

    /// Where to ask for `host/repository`, in order: mirrors, then the location itself.
    ///
    /// # Errors
    /// When it is blocked, or a location leads nowhere.
    pub fn locations(&self, host: &str, repository: &str, by: By) -> Result<Vec<Location>, OciError> {
        let name = format!("{host}/{repository}");
        let found = self
            .registries
            .values()
            .filter_map(|registry| matched(&registry.prefix, &name).map(|length| (length, registry)))
            .max_by_key(|(length, _)| *length);
        let Some((length, registry)) = found else {
            return Ok(vec![Location {
                host: host.to_owned(),
                repository: repository.to_owned(),
                transport: Transport::Verified,
            }]);
        };
        if registry.blocked {
            return Err(OciError::Blocked(name));
        }
        let mut locations = Vec::new();
        for mirror in &registry.mirror {
            let serves = match (mirror.pull_from_mirror, by) {
                (PullFromMirror::Unset, By::Tag) => !registry.mirror_by_digest_only,
                (PullFromMirror::DigestOnly, By::Tag) | (PullFromMirror::TagOnly, By::Digest) => false,
                (PullFromMirror::Unset | PullFromMirror::DigestOnly, By::Digest)
                | (PullFromMirror::TagOnly, By::Tag)
                | (PullFromMirror::All, _) => true,
            };
            if serves {
                locations.push(location(&format!("{}{}", mirror.location, &name[length..]), mirror.insecure)?);
            }
        }
        let itself = match registry.location.is_empty() {
            true => name.clone(),
            false => format!("{}{}", registry.location, &name[length..]),
        };
        locations.push(location(&itself, registry.insecure)?);
        Ok(locations)
    }
}

/// How many bytes of `name` the prefix stands for; `None` where it does not match.
///
/// A prefix ends at a `/` of the name; `*.example.com` matches any host below (and none with a port of its own).
fn matched(prefix: &str, name: &str) -> Option<usize> {
    if let Some(suffix) = prefix.strip_prefix('*') {
        let (domain, path) = match suffix.split_once('/') {
            Some((domain, path)) => (domain, Some(path)),
            None => (suffix, None),
        };
        let (host, rest) = name.split_once('/')?;
        if !(domain.starts_with('.') && host.len() > domain.len() && host.ends_with(domain)) {
            return None;
        }
        return match path {
            None => Some(host.len()),
            Some(path) => matched(path, rest).map(|length| host.len() + 1 + length),
        };
    }
    let rest = name.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
}

fn location(name: &str, insecure: bool) -> Result<Location, OciError> {
    match name.split_once('/') {
        Some((host, repository)) if !host.is_empty() && !repository.is_empty() => Ok(Location {
            host: host.to_owned(),
            repository: repository.trim_end_matches('/').to_owned(),
            transport: insecure.into(),
        }),
        _ => Err(OciError::Config {
            path: PathBuf::from("registries.conf"),
            source: ConfigError::Location(name.to_owned()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> RegistriesConf {
        let mut conf = RegistriesConf::default();
        conf.add(text).unwrap();
        conf
    }

    fn places(conf: &RegistriesConf, host: &str, repository: &str, by: By) -> Vec<String> {
        conf.locations(host, repository, by)
            .unwrap()
            .iter()
            .map(|found| {
                let mark = match found.transport {
                    Transport::Verified => "",
                    Transport::Insecure => "!",
                };
                format!("{mark}{}/{}", found.host, found.repository)
            })
            .collect()
    }

    #[test]
    fn asks_mirrors_first_and_the_longest_prefix_decides() {
        let conf = conf(
            r#"
            unqualified-search-registries = ["example.com"]
            [[registry]]
            location = "one.example"
            [[registry]]
            prefix = "one.example/team"
            location = "two.example/moved"
            [[registry.mirror]]
            location = "mirror.example:5000/cache"
            insecure = true
            [[registry.mirror]]
            location = "digests.example"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "*.wild.example"
            insecure = true
            [[registry]]
            prefix = "bad.example"
            blocked = true
        "#,
        );
        for (host, repository, by, wanted) in [
            ("none.example", "a/b", By::Tag, vec!["none.example/a/b"]),
            ("one.example", "a", By::Tag, vec!["one.example/a"]),
            ("one.example", "teammate/a", By::Tag, vec!["one.example/teammate/a"]),
            ("one.example", "team/a", By::Tag, vec!["!mirror.example:5000/cache/a", "two.example/moved/a"]),
            (
                "one.example",
                "team/a",
                By::Digest,
                vec!["!mirror.example:5000/cache/a", "digests.example/a", "two.example/moved/a"],
            ),
            ("x.wild.example", "a", By::Tag, vec!["!x.wild.example/a"]),
            ("wild.example", "a", By::Tag, vec!["wild.example/a"]),
        ] {
            assert_eq!(places(&conf, host, repository, by), wanted, "{host}/{repository}");
        }
        assert!(matches!(
            conf.locations("bad.example", "a", By::Tag),
            Err(OciError::Blocked(name)) if name == "bad.example/a"
        ));
    }

    #[test]
    fn a_host_by_its_name_counts_before_a_host_by_its_domain() {
        let name = "[[registry]]\nprefix = \"x.wild.example\"\n";
        let domain = "[[registry]]\nprefix = \"*.wild.example\"\nblocked = true\n";
        for text in [[name, domain], [domain, name]].map(|both| both.concat()) {
            assert_eq!(places(&conf(&text), "x.wild.example", "a", By::Tag), ["x.wild.example/a"], "{text}");
        }
    }

    #[test]
    fn a_later_entry_for_a_prefix_replaces_the_earlier() {
        let mut conf = conf("[[registry]]\nlocation = \"a.example\"\nblocked = true\n");
        conf.add("[[registry]]\nlocation = \"a.example\"\n").unwrap();
        assert_eq!(places(&conf, "a.example", "b", By::Tag), ["a.example/b"]);
    }

    #[test]
    fn refuses_what_it_cannot_follow() {
        for (text, wanted) in [
            ("[registries.search]\nregistries = []\n", "version 1"),
            ("[[registry]]\ninsecure = true\n", "neither"),
            ("[[registry]]\nlocation = \"https://a.example\"\n", "not a location"),
            ("[[registry]]\nlocation = 1\n", "TOML"),
        ] {
            let message = RegistriesConf::default().add(text).unwrap_err().to_string();
            assert!(message.contains(wanted), "{text}: {message}");
        }
    }
}

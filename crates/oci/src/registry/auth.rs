//! containers-auth.json(5): who we are to a registry.

use std::{collections::BTreeMap, path::PathBuf};

use openssl::base64;
use serde::Deserialize;

use super::conf::read_config;
use crate::{ConfigError, OciError};

/// Docker's key for its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A login. Prints without its secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The secret.
        password: String,
    },
    /// An OAuth2 refresh token (`identitytoken`).
    Token(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

impl Login {
    /// The value of `Authorization` (RFC 7617), where there is a password.
    pub(crate) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => {
                Some(format!("Basic {}", base64::encode_block(format!("{user}:{password}").as_bytes())))
            }
            Self::Token(_) => None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// What all files together say; an earlier file wins.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    found: BTreeMap<String, Login>,
    helpers: BTreeMap<String, (String, PathBuf)>,
    store: Option<(String, PathBuf)>,
}

impl Logins {
    /// Reads `files`, the most important first. What is absent says nothing.
    ///
    /// # Errors
    /// When a file is unreadable or says something else than containers-auth.json(5).
    pub fn read(files: &[PathBuf]) -> Result<Self, OciError> {
        let mut logins = Self::default();
        for path in files {
            let added = read_config(path).and_then(|bytes| match bytes {
                Some(bytes) => logins.add(&bytes, path),
                None => Ok(()),
            });
            added.map_err(|source| OciError::Config { path: path.clone(), source })?;
        }
        Ok(logins)
    }

    fn add(&mut self, bytes: &[u8], path: &std::path::Path) -> Result<(), ConfigError> {
        let file: File = serde_json::from_slice(bytes).map_err(ConfigError::Json)?;
        for (registry, helper) in file.cred_helpers {
            self.helpers.entry(registry).or_insert((helper, path.to_owned()));
        }
        if let (None, Some(store)) = (&self.store, file.creds_store.filter(|store| !store.is_empty())) {
            self.store = Some((store, path.to_owned()));
        }
        for (key, entry) in file.auths {
            if let Some(login) = entry.login(&key)? {
                self.found.entry(normal(&key)).or_insert(login);
            }
        }
        Ok(())
    }

    /// The login for a repository: the longest `host[/namespace…]` that has one.
    ///
    /// # Errors
    /// When only a credential helper would know.
    pub fn find(&self, host: &str, repository: &str) -> Result<Option<Login>, OciError> {
        let mut key = format!("{host}/{repository}");
        loop {
            if let Some(login) = self.found.get(&key) {
                return Ok(Some(login.clone()));
            }
            match key.rfind('/') {
                Some(end) => key.truncate(end),
                None => break,
            }
        }
        match self.helpers.get(host).or(self.store.as_ref()) {
            Some((helper, path)) => {
                Err(OciError::Config { path: path.clone(), source: ConfigError::CredentialHelper(helper.clone()) })
            }
            None => Ok(None),
        }
    }
}

/// Docker wrote URLs as keys; only their host counts.
fn normal(key: &str) -> String {
    if key == DOCKER_HUB {
        return "docker.io".to_owned();
    }
    match key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) {
        Some(url) => url.split('/').next().unwrap_or(url).to_owned(),
        None => key.trim_end_matches('/').to_owned(),
    }
}

impl Entry {
    fn login(self, key: &str) -> Result<Option<Login>, ConfigError> {
        if let Some(token) = self.identitytoken.filter(|token| !token.is_empty()) {
            return Ok(Some(Login::Token(token)));
        }
        let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) else {
            return Ok(None);
        };
        base64::decode_block(&auth)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| {
                let (user, password) = text.split_once(':')?;
                Some(Login::Password {
                    user: user.to_owned(),
                    // `docker login` once padded with NUL.
                    password: password.trim_end_matches('\0').to_owned(),
                })
            })
            .map(Some)
            .ok_or_else(|| ConfigError::Auth(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(text: &str) -> Result<Logins, ConfigError> {
        let mut logins = Logins::default();
        logins.add(text.as_bytes(), "auth.json".as_ref())?;
        Ok(logins)
    }

    fn user(login: Option<Login>) -> String {
        match login {
            Some(Login::Password { user, password }) => format!("{user}:{password}"),
            Some(Login::Token(token)) => format!("token {token}"),
            None => "nobody".to_owned(),
        }
    }

    #[test]
    fn the_most_specific_entry_counts() {
        // base64 of a:1, b:2 and c:3:4
        let logins = logins(
            r#"{"auths": {
                "one.example": {"auth": "YTox"},
                "one.example/team": {"auth": "Yjoy"},
                "https://two.example:5000/v1/": {"auth": "YzozOjQ="},
                "three.example": {"identitytoken": "t"},
                "four.example": {}
            }}"#,
        )
        .unwrap();
        for (host, repository, wanted) in [
            ("one.example", "x/y", "a:1"),
            ("one.example", "team/y", "b:2"),
            ("one.example", "teams/y", "a:1"),
            ("two.example:5000", "x", "c:3:4"),
            ("two.example", "x", "nobody"),
            ("three.example", "x", "token t"),
            ("four.example", "x", "nobody"),
        ] {
            assert_eq!(user(logins.find(host, repository).unwrap()), wanted, "{host}");
        }
    }

    #[test]
    fn refuses_helpers_by_name_only_where_they_are_needed() {
        let logins =
            logins(r#"{"auths": {"a.example": {"auth": "YTox"}}, "credHelpers": {"b.example": "ecr"}}"#).unwrap();
        assert!(logins.find("a.example", "x").unwrap().is_some());
        assert!(logins.find("c.example", "x").unwrap().is_none());
        assert!(matches!(
            logins.find("b.example", "x"),
            Err(OciError::Config { source: ConfigError::CredentialHelper(name), .. }) if name == "ecr"
        ));
    }

    #[test]
    fn refuses_what_is_no_login() {
        for (text, wanted) in [
            ("[]", "JSON"),
            (r#"{"auths": {"a": {"auth": "YQ=="}}}"#, "'a' is not base64"),
            (r#"{"auths": {"a": {"auth": "%"}}}"#, "'a' is not base64"),
        ] {
            let message = logins(text).unwrap_err().to_string();
            assert!(message.contains(wanted), "{text}: {message}");
        }
    }

    #[test]
    fn keeps_the_secret_out_of_debug_output() {
        let login = Login::Password { user: "a".into(), password: "secret".into() };
        assert_eq!(format!("{login:?}"), "Password(a)");
        assert_eq!(login.basic().unwrap(), "Basic YTpzZWNyZXQ=");
    }
}

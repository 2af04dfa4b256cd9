//! What a [`crate::Reader`] is told.

use std::{env, path::PathBuf};

use crate::registry::Patience;

/// Configuration of a [`crate::Reader`]. [`ReaderConfig::system`] is what programs use; tests fill it by hand.
#[derive(Debug, Clone)]
pub struct ReaderConfig {
    /// `registries.conf`; absent is empty.
    pub registries_conf: Option<PathBuf>,
    /// `registries.conf.d`, later ones above earlier ones.
    pub registries_conf_dirs: Vec<PathBuf>,
    /// `auth.json` files, the first that knows a registry counts.
    pub auth_files: Vec<PathBuf>,
    /// `certs.d`, all of which count.
    pub certs_dirs: Vec<PathBuf>,
    /// `User-Agent`.
    pub user_agent: String,
    /// The machine to choose images for, in OCI's words.
    pub architecture: String,
    /// How long a registry's troubles are borne.
    pub patience: Patience,
}

impl Default for ReaderConfig {
    /// No file at all.
    fn default() -> Self {
        Self {
            registries_conf: None,
            registries_conf_dirs: Vec::new(),
            auth_files: Vec::new(),
            certs_dirs: Vec::new(),
            user_agent: concat!("rocketctl/", env!("CARGO_PKG_VERSION")).to_owned(),
            architecture: crate::manifest::running_architecture().to_owned(),
            patience: Patience::default(),
        }
    }
}

impl ReaderConfig {
    /// The files that containers-registries.conf(5), containers-auth.json(5), containers-certs.d(5) and bootc(8) name.
    pub fn system() -> Self {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = variable("HOME");
        let user = variable("XDG_CONFIG_HOME")
            .or_else(|| home.as_ref().map(|home| home.join(".config")))
            .map(|config| config.join("containers"));

        let user_conf = user.as_ref().map(|user| user.join("registries.conf"));
        let registries_conf = variable("CONTAINERS_REGISTRIES_CONF")
            .or_else(|| user_conf.filter(|path| path.exists()))
            .or_else(|| Some(PathBuf::from("/etc/containers/registries.conf")));
        let mut registries_conf_dirs = vec![PathBuf::from("/etc/containers/registries.conf.d")];
        registries_conf_dirs.extend(user.as_ref().map(|user| user.join("registries.conf.d")));

        let auth_files = match variable("REGISTRY_AUTH_FILE") {
            // Whoever names a file means that one.
            Some(named) => vec![named],
            None => {
                let runtime = variable("XDG_RUNTIME_DIR").map(|runtime| runtime.join("containers/auth.json"));
                let system = ["/run/containers/0/auth.json", "/run/ostree/auth.json", "/etc/ostree/auth.json"];
                runtime
                    .into_iter()
                    .chain(system.map(PathBuf::from))
                    .chain(user.as_ref().map(|user| user.join("auth.json")))
                    .chain(home.as_ref().map(|home| home.join(".docker/config.json")))
                    .collect()
            }
        };

        let mut certs_dirs = vec![PathBuf::from("/etc/docker/certs.d"), PathBuf::from("/etc/containers/certs.d")];
        certs_dirs.extend(user.map(|user| user.join("certs.d")));
        Self { registries_conf, registries_conf_dirs, auth_files, certs_dirs, ..Self::default() }
    }
}

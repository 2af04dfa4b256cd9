//! `internal host-container`: what the units that mount images ask for.

use clap::Subcommand;
use rocketos_model::layout;
use rocketos_settings::model::value::Name;

/// `internal host-container`.
#[derive(Debug, Subcommand)]
pub enum HostContainer {
    /// Bring it where it is not here, and mount it.
    Pull {
        /// The container's name in settings; of a bootstrap container with 'bootstrap+' before it.
        #[arg(value_parser = ground)]
        name: String,
    },
    /// Unmount it.
    Release {
        /// The container's name in settings; of a bootstrap container with 'bootstrap+' before it.
        #[arg(value_parser = ground)]
        name: String,
    },
}

/// What a container of the host runs on, by its name.
fn ground(text: &str) -> Result<String, String> {
    let name = text.strip_prefix(layout::host_container::BOOTSTRAP).unwrap_or(text);
    name.parse::<Name>().map(|_| text.to_owned())
}

/// Whether a container of the host may run on what is called so.
pub fn is_ground(text: &str) -> bool {
    ground(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::ground;

    #[test]
    fn what_is_mounted_and_unmounted_has_a_name_of_settings() {
        for name in ["admin", "bootstrap+disk"] {
            assert_eq!(ground(name), Ok(name.to_owned()));
        }
        for name in ["", "bootstrap+", "bootstrap+bootstrap+a", "a+b", "../x", "bootstrap+../x", "a.b"] {
            assert!(ground(name).is_err(), "{name}");
        }
    }
}

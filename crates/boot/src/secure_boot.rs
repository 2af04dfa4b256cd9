//! Secure Boot as this machine's firmware has it (UEFI 2.10, 32): whether it is on, and updates of its variables.

use rocketos_sys::efivar::Variables;

use crate::BootError;

/// Set while firmware takes a platform key from anybody.
const SETUP_MODE: &str = "SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Set while firmware starts only what is signed.
const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// What firmware does with programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecureBoot {
    /// It starts only those that are signed by keys in db.
    Enforcing,
    /// It starts any, has no platform key, and takes the first it is given.
    Setup,
    /// It has a platform key, and starts any: switched off.
    Off,
    /// It has no such thing, or is none (no UEFI).
    Absent,
}

impl SecureBoot {
    /// Asks the firmware whose variables these are.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn of(variables: &Variables) -> Result<Self, BootError> {
        let set = |name| Ok::<_, BootError>(variables.value(name)?.map(|value| value == [1]));
        Ok(match (set(SECURE_BOOT)?, set(SETUP_MODE)?) {
            (Some(true), _) => Self::Enforcing,
            (_, Some(true)) => Self::Setup,
            (Some(false), _) => Self::Off,
            (None, _) => Self::Absent,
        })
    }

    /// Asks this machine's firmware.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn of_machine() -> Result<Self, BootError> {
        Self::of(&machine())
    }
}

fn machine() -> Variables {
    Variables::at(rocketos_sys::efivar::EFIVARS)
}

/// Hands a signed update to this machine's firmware: `name` with its namespace, the attributes, the bytes.
///
/// # Errors
/// When the firmware does not believe the signer, has seen a younger one, or has no room.
pub fn apply(name: &str, attributes: u32, update: &[u8]) -> Result<(), BootError> {
    Ok(machine().set_with(name, attributes, update)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn tells_the_modes_apart() {
        let directory = tempfile::tempdir().unwrap();
        let variables = Variables::at(directory.path());
        let put = |name: &str, value: u8| fs::write(directory.path().join(name), [6, 0, 0, 0, value]).unwrap();
        assert_eq!(SecureBoot::of(&variables).unwrap(), SecureBoot::Absent);
        put(SECURE_BOOT, 0);
        assert_eq!(SecureBoot::of(&variables).unwrap(), SecureBoot::Off);
        put(SETUP_MODE, 1);
        assert_eq!(SecureBoot::of(&variables).unwrap(), SecureBoot::Setup);
        put(SETUP_MODE, 0);
        put(SECURE_BOOT, 1);
        assert_eq!(SecureBoot::of(&variables).unwrap(), SecureBoot::Enforcing);
    }
}

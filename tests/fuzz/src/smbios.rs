//! Structures of SMBIOS, and what is read of their strings.

use rocketos_settings::provider::{credentials::of_strings, smbios::oem_strings};

pub(crate) fn fuzz(bytes: &[u8]) {
    let strings = oem_strings(bytes);
    let total: usize = strings.iter().map(|string| string.len() + 1).sum();
    assert!(total <= bytes.len() && strings.iter().all(|string| !string.is_empty() && !string.contains(&0)));
    match of_strings(&strings) {
        Ok(found) => assert!(found.iter().all(|credential| credential.len() <= bytes.len())),
        Err(error) => assert!(!error.chars().any(char::is_control), "{error:?}"),
    }
}

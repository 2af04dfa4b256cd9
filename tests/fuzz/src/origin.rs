//! A deployment's origin file, and what the initramfs says it booted.

use rocketos_model::{Booted, Origin};

pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(origin) = toml::from_str::<Origin>(text) {
        let again = toml::to_string(&origin).expect("an origin is written");
        assert_eq!(toml::from_str(&again), Ok(origin));
    }
    if let Ok(booted) = Booted::from_toml(text) {
        assert_eq!(Booted::from_toml(&booted.to_toml()), Ok(booted));
    }
}

//! Variables of the firmware: what it, its boot manager and the loader left for the system.
//!
//! An input is records: which variable (1 byte), how many bytes (2, the lowest first), the bytes, attributes first.

use rocketos_boot::{
    loader::{EspPartition, Firmware},
    secure_boot::SecureBoot,
};
use rocketos_sys::{
    efivar::{LOADER_DEVICE_PART_UUID, LOADER_ENTRY_SELECTED, LOADER_IMAGE_IDENTIFIER, Variables},
    gpt::Guid,
};
use tempfile::TempDir;

use crate::scratch;

/// The ESP of this machine; seeds name it.
const ESP: &str = "f586c90a-35a3-a8f2-4943-3ef0837cdce3";
/// `EFI_GLOBAL_VARIABLE`.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const GLOBALS: [&str; 9] =
    ["BootOrder", "BootNext", "BootCurrent", "SecureBoot", "SetupMode", "Boot0000", "Boot0001", "Boot00FF", "Boot00fe"];
const LOADERS: [&str; 3] = [LOADER_DEVICE_PART_UUID, LOADER_IMAGE_IDENTIFIER, LOADER_ENTRY_SELECTED];
/// Loaders that boot options name.
const OLD: &str = "EFI/systemd/systemd-boot-0000000000000000.efi";
const NEW: &str = "EFI/systemd/systemd-boot-1111111111111111.efi";

thread_local! {
    static FOLDER: TempDir = scratch::folder();
}

pub(crate) fn fuzz(bytes: &[u8]) {
    FOLDER.with(|folder| {
        scratch::clear(folder.path());
        let mut left = bytes;
        while let [which, low, high, rest @ ..] = left {
            let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
            let which = usize::from(*which) % (GLOBALS.len() + LOADERS.len());
            let name = match GLOBALS.get(which) {
                Some(global) => format!("{global}-{GLOBAL}"),
                None => LOADERS[which - GLOBALS.len()].to_owned(),
            };
            scratch::write(&folder.path().join(name), &rest[..length]);
            left = &rest[length..];
        }
        judge(&Variables::at(folder.path()));
    });
}

fn judge(variables: &Variables) {
    for name in LOADERS {
        if let Ok(Some(text)) = variables.text(name) {
            assert!(!text.contains('\0'));
        }
    }
    let _ = SecureBoot::of(variables).expect("files are read");
    let guid = Guid::parse(ESP).expect("a GUID");
    let firmware = Firmware::at(variables.clone(), EspPartition { number: 1, start: 2048, sectors: 2_097_152, guid });
    if let Ok(Some(path)) = firmware.running() {
        assert!(!path.starts_with('\\') && !path.contains('\\'), "{path}");
    }
    // Whatever was there: what is asked of the boot manager is so afterwards.
    for relative in [OLD, NEW] {
        let kept = firmware.is_kept(relative).expect("files are read");
        firmware.keep(relative).expect("files are written");
        assert!(firmware.is_kept(relative).expect("files are read"), "kept before: {kept}");
        firmware.set_next(relative).expect("files are written");
        assert!(firmware.is_next(relative).expect("files are read"));
    }
    assert!(!firmware.is_kept(OLD).expect("files are read"));
    firmware.forget(NEW).expect("files are written");
    assert!(!firmware.is_kept(NEW).expect("files are read") && !firmware.is_next(NEW).expect("files are read"));
}

//! Credentials that a hypervisor hands in: QEMU's fw_cfg, and strings of SMBIOS (systemd.system-credentials(7)).
//!
//! Sealed images have systemd import none, for it knows credentials that run programs. This one name alone is read here, as user data.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{DOCUMENT_BYTES, Provider, When, file, nothing_promised, smbios};

/// The credential's name.
pub const NAME: &str = "rocketos.user-data";
/// Where fw_cfg shows it; the module `qemu_fw_cfg` does.
pub const FW_CFG: &str = "sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/rocketos.user-data/raw";
/// Where the kernel shows the structures of SMBIOS.
pub const TABLE: &str = "sys/firmware/dmi/tables/DMI";
/// How a string begins that holds a credential as it is, and in base64.
const BEGINNINGS: [(&str, bool); 2] = [("io.systemd.credential:", false), ("io.systemd.credential.binary:", true)];

/// What a hypervisor says now.
pub const PROVIDER: Provider = Provider {
    order: 40,
    name: "credentials",
    when: When::EveryBoot,
    look: |machine, _| Ok(read(machine.root())?.into()),
    promised: nothing_promised,
};

fn read(root: &Path) -> Result<Option<Vec<u8>>, String> {
    let mut found: Vec<Vec<u8>> = file(&root.join(FW_CFG), DOCUMENT_BYTES)?.into_iter().collect();
    let table = file(&root.join(TABLE), smbios::TABLE_BYTES)?.unwrap_or_default();
    found.extend(of_strings(&smbios::oem_strings(&table))?);
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(format!("the credential {NAME} is handed in more than once")),
    }
}

/// Each time that strings of SMBIOS hold this credential.
///
/// # Errors
/// When one says that it is base64, and is not.
pub fn of_strings(strings: &[&[u8]]) -> Result<Vec<Vec<u8>>, String> {
    strings.iter().filter_map(|string| credential(string).transpose()).collect()
}

/// What a string holds, where it is this credential.
fn credential(string: &[u8]) -> Result<Option<Vec<u8>>, String> {
    for (beginning, is_packed) in BEGINNINGS {
        let value = string.strip_prefix(beginning.as_bytes()).and_then(|rest| rest.strip_prefix(NAME.as_bytes()));
        let Some(value) = value.and_then(|rest| rest.strip_prefix(b"=")) else { continue };
        return match is_packed {
            true => STANDARD.decode(value).map(Some).map_err(|_| format!("the credential {NAME} is no base64")),
            false => Ok(Some(value.to_vec())),
        };
    }
    Ok(None)
}

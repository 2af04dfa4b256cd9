//! User data of the host container `control`: who may ask the API of a node.

use rocketos_control::userdata::{UserData, UserDataError};

pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match UserData::parse(text) {
        Ok(data) => {
            assert!(data.vsock.is_none_or(|vsock| (1..u32::MAX).contains(&vsock.port)));
            for exec in data.exec {
                assert!(exec.program[0].starts_with('/') && exec.program.iter().all(|word| !word.contains('\0')));
            }
        }
        Err(UserDataError::Line(line)) => assert!(line >= 1 && line <= text.split('\n').count(), "{line}"),
        // Nothing of it is told.
        Err(error) => assert!(error.to_string().len() < 120, "{error}"),
    }
}

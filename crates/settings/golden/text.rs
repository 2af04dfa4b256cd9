// Files as one text, secrets too: the settings of golden files have made-up ones.

use std::fmt::Write as _;

/// Every file with its path, permissions and service.
pub fn of(files: &Files) -> String {
    let mut text = String::new();
    for (path, file) in files.all() {
        let content = String::from_utf8_lossy(&file.bytes);
        // Writing to a String does not fail.
        let _ = writeln!(text, "==> {path} {:o} {:?}\n{content}", file.mode, file.service);
    }
    text
}

// Files as one text, secrets too: the settings of golden files have made-up ones. And what is so on a node that has them.

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

/// An image that trusts two certificates, each in the bundle and in a file of its own.
pub fn facts() -> Facts {
    let (kept, off) = (&include_bytes!("trusted/kept.pem")[..], &include_bytes!("trusted/off.pem")[..]);
    let mut facts = Facts::default();
    for (name, text) in [("ca-certificates.crt", &[kept, off].concat()[..]), ("Kept.pem", kept), ("Off.pem", off)] {
        facts.trusts(format!("{TRUST}/{name}"), text).expect("these are certificates");
    }
    facts
}

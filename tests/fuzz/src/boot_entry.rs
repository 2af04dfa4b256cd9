//! Boot entries on an ESP that anybody may have written: the first line is a name, the rest the file.

use std::{cell::LazyCell, path::Path};

use rocketos_boot::{Esp, loader_order, new_tries};
use rocketos_model::{DeploymentId, EntryName, layout};
use tempfile::TempDir;

use crate::scratch;

thread_local! {
    static TOP: LazyCell<TempDir> = LazyCell::new(scratch::folder);
}

pub(crate) fn fuzz(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let Ok(name) = str::from_utf8(&bytes[..end]) else { return };
    let Ok(entry) = name.parse::<EntryName>() else { return };
    assert_eq!(entry.to_string(), name);
    let identifier: EntryName = entry.identifier().parse().expect("an identifier is a name");
    assert_eq!((identifier.deployment, identifier.tries), (entry.deployment, None));
    if name.len() < 255 {
        TOP.with(|top| on_esp(top.path(), name, &bytes[end..]));
    }
}

fn on_esp(top: &Path, name: &str, content: &[u8]) {
    scratch::clear(top);
    scratch::write(&top.join(layout::esp::ENTRIES).join(name), content);
    let esp = Esp::at(top);
    let mut entries = esp.entries().expect("the folder is listed");
    let [entry] = entries.as_slice() else { panic!("one entry was written, {} are there", entries.len()) };
    let found = entry.clone();
    assert_eq!(found.name.to_string(), name);
    // A file that is too long is refused, whatever is in it.
    let _ = esp.title(&found);
    // A sequence that cannot grow may be refused; what is added boots first.
    let other: DeploymentId = "0".repeat(DeploymentId::HEX_LEN).parse().expect("zeros are hex digits");
    if let Ok(added) = esp.add_entry(other, "title", "k.efi", Some(new_tries())) {
        entries.push(added.clone());
        loader_order(&mut entries);
        assert_eq!(entries[0], added);
    }
    let _ = esp.bless(&found.name.identifier(), "title", "k.efi");
}

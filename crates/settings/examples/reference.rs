//! Writes docs/settings-schema.json and docs/settings-reference.md anew from the model: after each change of it.

use std::{error::Error, fs, path::Path};

use rocketos_settings::Schema;

fn main() -> Result<(), Box<dyn Error>> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    fs::write(docs.join("settings-schema.json"), Schema::get().document())?;
    fs::write(docs.join("settings-reference.md"), Schema::get().reference())?;
    Ok(())
}

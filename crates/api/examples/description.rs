//! Writes docs/openapi.json anew from the operations: after each change of them.

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    fs::write(docs.join("openapi.json"), rocketos_api::openapi::document())?;
    Ok(())
}

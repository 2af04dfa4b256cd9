//! Writes golden/<name>.txt anew: the files that the settings of golden/<name>.toml come to. Read what changed before committing it.

use std::{error::Error, fs, path::Path};

use rocketos_settings::{Layers, SetBy, render, userdata};

mod text {
    use rocketos_settings::render::{Facts, Files, TRUST};

    include!("../golden/text.rs");
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let mut layers = Layers::default();
            layers.add(&userdata::parse(&fs::read(&path)?)?.tree, |_| SetBy::File { path: path.clone() });
            let files = render::render(&layers.resolve()?.settings, &text::facts());
            fs::write(path.with_extension("txt"), text::of(&files))?;
        }
    }
    Ok(())
}

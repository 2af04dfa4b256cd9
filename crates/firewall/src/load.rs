//! Finding declarations below a root.

use std::{error::Error as _, path::Path};

use rocketos_dropins::{ReadError, files, text};
use rocketos_model::limits::CONFIG_FILE_BYTES;
use serde::Serialize;

use crate::{Opening, limits};

/// The folder of declarations, in those of image, run time and administrator.
const FOLDER: &str = "firewall.d";

/// A folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("looking for what is declared open")]
pub struct LoadError(#[from] ReadError);

/// A file that is no declaration: nothing of it is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The file.
    pub declared_by: String,
    /// What is wrong with it.
    pub problem: String,
}

/// An opening, and who declared it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Declaration {
    /// The opening.
    #[serde(flatten)]
    pub opening: Opening,
    /// The file, by its path on the node.
    pub declared_by: String,
}

/// What all files below a root say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Declared {
    /// What is open, by the names of files.
    pub open: Vec<Declaration>,
    /// Files that are no declarations.
    pub broken: Vec<Broken>,
}

/// Reads every declaration below `root`. A file that is none is part of what comes back.
///
/// # Errors
/// When a folder cannot be read.
pub fn load(root: &Path) -> Result<Declared, LoadError> {
    let mut declared = Declared::default();
    let files = files(root, FOLDER)?;
    let more = files.len() > limits::FILES;
    for (at, path) in files.into_values().enumerate() {
        let declared_by = Path::new("/").join(path.strip_prefix(root).unwrap_or(&path)).display().to_string();
        if at >= limits::FILES {
            continue;
        }
        match text(&path, CONFIG_FILE_BYTES).map_err(|error| causes(&error)).and_then(|text| Opening::parse_file(&text))
        {
            Ok(open) => declared
                .open
                .extend(open.into_iter().map(|opening| Declaration { opening, declared_by: declared_by.clone() })),
            Err(problem) => declared.broken.push(Broken { declared_by, problem }),
        }
    }
    if more {
        let problem = format!("more than {} files declare something; those after are left out", limits::FILES);
        declared.broken.push(Broken { declared_by: FOLDER.to_owned(), problem });
    }
    Ok(declared)
}

fn causes(error: &ReadError) -> String {
    match error.source() {
        Some(why) => format!("{error}: {why}"),
        None => error.to_string(),
    }
}

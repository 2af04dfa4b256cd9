//! How much root may do to the running kernel (kernel_lockdown(7)): it rises, and never falls.

use std::{fs, path::Path};

use rocketos_settings::{model::Lockdown, render::LOCKDOWN};

use super::Told;

/// Where the kernel says it, what it has in brackets among what it knows, and is told.
const KERNEL: &str = "sys/kernel/security/lockdown";

/// Whether the kernel would have to forget something for what a file says.
///
/// # Errors
/// When it would, or says nothing of it.
pub(super) fn check(root: &Path, file: &[u8]) -> Result<(), String> {
    let (wanted, has) = (wanted(&String::from_utf8_lossy(file))?, has(root)?);
    match wanted < has {
        true => Err(format!(
            "kernel.lockdown is to be {}, and the kernel has {}, which never falls: it does until the next boot",
            wanted.word(),
            has.word()
        )),
        false => Ok(()),
    }
}

/// Has the kernel locked down as the file of settings says, where it is not so or more already.
///
/// # Errors
/// When the kernel does not take it.
pub(super) fn raise(root: &Path) -> Result<Told, String> {
    let path = root.join(LOCKDOWN);
    let wanted = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Told::Skipped("the kernel keeps what it has until the next boot".to_owned()));
        }
        other => wanted(&other.map_err(|error| format!("reading {}: {error}", path.display()))?)?,
    };
    let has = has(root)?;
    if has >= wanted {
        return Ok(Told::Skipped(format!("the kernel has {} already", has.word())));
    }
    let path = root.join(KERNEL);
    fs::write(&path, wanted.word()).map_err(|error| format!("writing {}: {error}", path.display()))?;
    Ok(Told::Done)
}

fn wanted(text: &str) -> Result<Lockdown, String> {
    level(text.trim()).ok_or_else(|| format!("/{LOCKDOWN} does not say how much root may do to the kernel"))
}

/// What the kernel has.
fn has(root: &Path) -> Result<Lockdown, String> {
    let path = root.join(KERNEL);
    let text = fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let chosen = |word: &str| level(word.strip_prefix('[')?.strip_suffix(']')?);
    text.split_whitespace().find_map(chosen).ok_or_else(|| format!("{} does not say what counts", path.display()))
}

fn level(word: &str) -> Option<Lockdown> {
    Lockdown::ALL.into_iter().find(|level| level.word() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTEGRITY: &str = "none [integrity] confidentiality\n";
    const CONFIDENTIALITY: &str = "none integrity [confidentiality]\n";

    fn root(kernel: Option<&str>, settings: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [(KERNEL, kernel), (LOCKDOWN, settings)] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            text.into_iter().for_each(|text| fs::write(&path, text).unwrap());
        }
        root
    }

    #[test]
    fn it_rises_and_never_falls() {
        for (kernel, settings, written) in [
            (INTEGRITY, "confidentiality\n", Some("confidentiality")),
            ("[none] integrity confidentiality\n", "integrity\n", Some("integrity")),
            (INTEGRITY, "integrity\n", None),
            (CONFIDENTIALITY, "confidentiality\n", None),
            (CONFIDENTIALITY, "integrity\n", None),
        ] {
            let root = root(Some(kernel), Some(settings));
            let told = raise(root.path()).unwrap();
            assert_eq!(matches!(told, Told::Done), written.is_some(), "{kernel} {settings}");
            let now = fs::read_to_string(root.path().join(KERNEL)).unwrap();
            assert_eq!(now, written.unwrap_or(kernel), "{settings}");
        }
        let gone = root(Some(CONFIDENTIALITY), None);
        assert!(matches!(raise(gone.path()), Ok(Told::Skipped(_))));
    }

    #[test]
    fn what_would_lower_it_is_refused_by_name() {
        for (kernel, wanted, says) in [
            (
                Some(CONFIDENTIALITY),
                "integrity\n",
                Some("kernel.lockdown is to be integrity, and the kernel has confidentiality"),
            ),
            (Some(INTEGRITY), "none\n", Some("kernel.lockdown is to be none")),
            (Some(INTEGRITY), "all\n", Some("does not say how much")),
            (Some("none integrity confidentiality\n"), "integrity\n", Some("does not say what counts")),
            (None, "integrity\n", Some("reading ")),
            (Some(INTEGRITY), "integrity\n", None),
            (Some(INTEGRITY), "confidentiality\n", None),
        ] {
            let said = check(root(kernel, None).path(), wanted.as_bytes()).err();
            assert_eq!(said.is_some(), says.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().contains(says.unwrap_or_default()));
        }
    }
}

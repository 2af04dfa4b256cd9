//! The SELinux policy that every image carries: the sealer's, whatever the root brings.
//!
//! What lies below `selinux/` of the rules is placed in the image at the same paths. One file is the root's to have: the
//! configuration, and all it may say is whether violations are refused or only told. Labels follow when the digest is
//! computed: they are the store's work, after the file contexts that are placed here.

use std::{fs, path::Path};

use walkdir::WalkDir;

use crate::{
    SealError,
    error::read_text,
    output::place as place_file,
    plan::{Plan, folder},
    release::{DEV, Release},
};

/// Below the rules: what is placed in the image.
const TREE: &str = "selinux";
/// Where libselinux reads mode and name of the policy.
pub(crate) const CONFIG: &str = "etc/selinux/config";
/// What the policy is called.
const POLICY: &str = "rocketos";
/// Bytes of a file that is placed, and of the configuration.
const FILE_BYTES: u64 = 16 << 20;
const CONFIG_BYTES: u64 = 4 << 10;
/// What makes the kernel refuse from its first instruction on (admin-guide/kernel-parameters, `enforcing=`).
const ENFORCING: &str = "enforcing=1";

/// What is done about a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is refused.
    Enforcing,
    /// It is told.
    Permissive,
}

impl Mode {
    /// The kernel argument for it.
    pub(crate) fn argument(self) -> Option<&'static str> {
        (self == Self::Enforcing).then_some(ENFORCING)
    }

    /// Reads a configuration; it must ask for this policy.
    pub(crate) fn parse(text: &str) -> Result<Self, SealError> {
        let value = |key: &str| {
            let mut found = text.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| name.trim() == key);
            found.next_back().map(|(_, value)| value.trim())
        };
        if value("SELINUXTYPE") != Some(POLICY) {
            return Err(SealError::malformed(CONFIG, format!("expected SELINUXTYPE={POLICY}")));
        }
        match value("SELINUX") {
            Some("enforcing") => Ok(Self::Enforcing),
            Some("permissive") => Ok(Self::Permissive),
            _ => Err(SealError::malformed(CONFIG, "expected SELINUX=enforcing or SELINUX=permissive")),
        }
    }
}

/// Places the policy of `rules` in the image; absent where these rules have none.
///
/// Only the variant for people who look around may go on after a violation.
pub(crate) fn place(root: &Path, rules: &Path, release: &Release, plan: &mut Plan) -> Result<Option<Mode>, SealError> {
    let tree = rules.join(TREE);
    if !tree.is_dir() {
        return Ok(None);
    }
    for entry in WalkDir::new(&tree).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| SealError::read(&tree)(error.into()))?;
        let path = entry.path().strip_prefix(&tree).unwrap_or(entry.path()).display().to_string();
        if entry.file_type().is_dir() {
            plan.kept.entry(path).or_insert_with(|| folder(0o755));
        } else if path != CONFIG || !plan.kept.contains_key(CONFIG) {
            add(entry.path(), path, plan)?;
        }
    }
    let config = match plan.replaced.get(CONFIG) {
        Some(content) => String::from_utf8_lossy(content).into_owned(),
        None => read_text(root, CONFIG, CONFIG_BYTES)?.unwrap_or_default(),
    };
    let mode = Mode::parse(&config)?;
    if mode == Mode::Permissive && !release.is_dev() {
        return Err(SealError::malformed(
            CONFIG,
            format!("only images with VARIANT_ID={DEV} may be permissive; expected SELINUX=enforcing"),
        ));
    }
    Ok(Some(mode))
}

/// Puts the file `from` at `path` of the image.
fn add(from: &Path, path: String, plan: &mut Plan) -> Result<(), SealError> {
    let size = fs::metadata(from).map_err(SealError::read(from))?.len();
    if size > FILE_BYTES {
        return Err(SealError::TooLarge { path, found: size, limit: FILE_BYTES });
    }
    let content = fs::read(from).map_err(SealError::read(from))?;
    place_file(plan, &path, content);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rocketos_boot::uki;

    use super::*;
    use crate::fixture::{Fixture, KERNEL};

    const ASKS: &str = "SELINUX=enforcing\nSELINUXTYPE=rocketos\n";

    fn cmdline(output: &Path) -> String {
        let uki = fs::read(output.join(format!("uki/boot/EFI/Linux/{KERNEL}.efi"))).unwrap();
        uki::cmdline(&uki).unwrap()
    }

    fn with_policy() -> Fixture {
        let fixture = Fixture::new();
        fixture.rule("selinux/etc/selinux/config", ASKS);
        fixture.rule("selinux/etc/selinux/rocketos/contexts/files/file_contexts", "/.*\tu:r:image_t:s0\n");
        fixture.rule("selinux/usr/lib/rocketos/selinux/policy", "policy");
        fixture
    }

    #[test]
    fn places_the_policy_and_enforces_it() {
        let fixture = with_policy();
        let (output, facts) = fixture.seal("out");
        assert!(cmdline(&output).ends_with(" console=ttyS0 quiet enforcing=1"), "{}", cmdline(&output));
        let image = fixture.image(&output);
        assert_eq!(fs::read_to_string(image.join("usr/lib/rocketos/selinux/policy")).unwrap(), "policy");
        // Labels are under the digest: the layers carry none, and the tree comes to the same.
        assert_eq!(rocketos_store::digest_of_directory(&image).unwrap().digest, facts.composefs_digest);
        fixture.rule("selinux/etc/selinux/rocketos/contexts/files/file_contexts", "/.*\tu:r:other_t:s0\n");
        let (_, other) = fixture.seal("other");
        assert_ne!(other.composefs_digest, facts.composefs_digest);
    }

    #[test]
    fn root_says_only_whether_to_enforce() {
        let fixture = with_policy();
        fixture.file(CONFIG, "SELINUX=permissive\nSELINUXTYPE=rocketos\n");
        fixture.file("usr/lib/rocketos/selinux/policy", "allows everything");
        assert_eq!(
            fixture.refusal(),
            "/etc/selinux/config: only images with VARIANT_ID=dev may be permissive; expected SELINUX=enforcing"
        );
        fixture.file("usr/lib/os-release", "ID=rocketos\nVERSION_ID=13\nVARIANT_ID=dev\nIMAGE_VERSION=7\n");
        let (output, _) = fixture.seal("out");
        assert!(!cmdline(&output).contains("enforcing"));
        let image = fixture.image(&output);
        assert_eq!(fs::read_to_string(image.join("usr/lib/rocketos/selinux/policy")).unwrap(), "policy");
        fixture.file(CONFIG, "SELINUX=disabled\nSELINUXTYPE=rocketos\n");
        assert_eq!(fixture.refusal(), "/etc/selinux/config: expected SELINUX=enforcing or SELINUX=permissive");
    }

    #[test]
    fn refuses_another_policy() {
        for text in ["", "SELINUX=enforcing\n", "SELINUX=enforcing\nSELINUXTYPE=default\n"] {
            assert!(Mode::parse(text).is_err(), "{text}");
        }
        assert_eq!(Mode::parse(ASKS).unwrap(), Mode::Enforcing);
    }
}

//! Named checks of a finished image.
//!
//! A registry: each check has a name by which it can be skipped, a reason, and a severity. Those that bootc has too bear
//! bootc's names (`bootc container lint`). A check that fails and a check that could not run are told apart.

use std::path::{Path, PathBuf};

use rocketos_model::layout;
use serde::Serialize;

use crate::{SealError, Silent, survey::Survey};

mod accounts;
mod content;
mod contract;
mod kernel;
mod permissions;
mod trust;

/// Most items that one finding names.
const ITEMS: usize = 10;
/// Bytes of a text file that a check reads.
const TEXT_BYTES: u64 = 4 << 20;

/// How bad it is when a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The image will not install, boot or keep its promises.
    Fatal,
    /// It will work, and somebody should look at it.
    Warning,
}

/// What became of a check that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// What is wrong, and what to do.
    Failed(String),
    /// Why nobody knows.
    NotRun(String),
}

/// A check that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The check's name.
    pub check: String,
    /// How bad it is.
    pub severity: Severity,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a check is called and for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckFacts {
    /// By which it can be skipped.
    pub name: &'static str,
    /// What goes wrong without it.
    pub reason: &'static str,
    /// How bad it is when it fails.
    pub severity: Severity,
}

/// How to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintOptions {
    /// Names of checks to leave out.
    pub skip: Vec<String>,
    /// The folder of the sealing rules: `config.required`, and `permissions.allowed` with paths that may be
    /// set-user-id, set-group-id or world-writable.
    pub rules: PathBuf,
}

impl Default for LintOptions {
    fn default() -> Self {
        Self { skip: Vec::new(), rules: crate::seal::RULES.into() }
    }
}

/// What checks look at.
struct Image<'a> {
    root: &'a Path,
    tree: &'a Survey,
    options: &'a LintOptions,
}

/// `Ok(None)` where all is well, `Ok(Some(problem))` where not, `Err` where nobody knows.
type Verdict = Result<Option<String>, SealError>;

struct Check {
    facts: CheckFacts,
    run: fn(&Image<'_>) -> Verdict,
}

const fn fatal(name: &'static str, reason: &'static str, run: fn(&Image<'_>) -> Verdict) -> Check {
    let severity = Severity::Fatal;
    Check { facts: CheckFacts { name, reason, severity }, run }
}

const fn warning(name: &'static str, reason: &'static str, run: fn(&Image<'_>) -> Verdict) -> Check {
    let severity = Severity::Warning;
    Check { facts: CheckFacts { name, reason, severity }, run }
}

/// Every check there is.
const CHECKS: &[Check] = &[
    fatal("api-base-directories", "The node mounts on them: the root cannot be written to.", contract::api_folders),
    warning("baseimage-composefs", "bootc's ostree backend would not verify the root.", contract::baseimage_composefs),
    fatal("baseimage-root", "bootc looks for /sysroot and /ostree.", contract::baseimage_root),
    fatal("bootc-kargs", "Kernel arguments come from the UKI alone; these would be passed over.", contract::kargs),
    fatal("build-only", "Nothing of the build belongs to a node.", content::build_only),
    warning("buildah-injected", "An empty /etc/hostname or /etc/resolv.conf is the builder's.", contract::injected),
    fatal("composefs-digest", "The UKI must allow exactly the tree beside it.", kernel::digest),
    warning("dangling-links", "A link to nothing is a file that pruning forgot.", content::dangling),
    fatal("etc-usretc", "With /usr/etc beside /etc, nobody knows which one counts.", contract::usr_etc),
    fatal("kernel", "An image carries exactly one kernel.", kernel::one),
    fatal("kernel-config", "The system relies on what kernel/config.required lists.", kernel::config),
    fatal("loader", "`install` copies the loader from the image.", kernel::loader),
    fatal("minimal", "Who gets in finds no shell, no interpreter and no tools, but in dev.", permissions::minimal),
    fatal("nonempty-boot", "/boot holds the UKI and nothing else.", kernel::boot),
    warning("nonempty-run-tmp", "/run and /tmp are hidden on the node; what is there is lost.", content::run_tmp),
    fatal("os-release", "Tools and people learn from it what runs.", content::os_release),
    fatal("permissions", "Set-user-id programs and world-writable files are ways to more rights.", permissions::check),
    warning("sysusers", "An account that nobody declares vanishes with a persistent /etc.", accounts::sysusers),
    warning(
        "trust-policy",
        "By it the node judges the next image; without one it refuses every upgrade.",
        trust::policy,
    ),
    warning(
        "trust-policy-etc",
        "What lies in /etc outranks the newest policy of a channel, whose keys may have changed since.",
        trust::etc,
    ),
    fatal("trust-policy-syntax", "By a policy that cannot be read nothing is accepted.", trust::syntax),
    fatal("trust-root", "By root metadata that cannot be read no channel can be followed.", trust::root),
    fatal("utf8", "bootc's ostree backend knows only UTF-8 names.", content::utf8),
    fatal("var-content", "What the image has in /var is lost: the node's /var takes its place.", content::var),
    fatal("var-run", "/var/run is a link to /run, or nothing.", contract::var_run),
    warning(
        "var-tmpfiles",
        "The node's /var begins empty; tmpfiles.d makes what the image relies on.",
        accounts::tmpfiles,
    ),
];

/// All checks, by name.
pub fn checks() -> impl Iterator<Item = CheckFacts> {
    CHECKS.iter().map(|check| check.facts)
}

/// Checks the image unpacked or mounted at `root`; what comes back did not pass, fatal findings first.
pub fn lint(root: &Path, options: &LintOptions) -> Vec<Finding> {
    let finding = |check: &str, severity, outcome| Finding { check: check.to_owned(), severity, outcome };
    let mut findings: Vec<Finding> = options
        .skip
        .iter()
        .filter(|name| !checks().any(|check| check.name == *name))
        .map(|name| finding(name, Severity::Fatal, Outcome::NotRun("there is no such check to skip".to_owned())))
        .collect();
    match crate::survey::survey(root, &Silent) {
        Err(error) => {
            let outcome = match error {
                SealError::Malformed { .. } => Outcome::Failed(chain(&error)),
                _ => Outcome::NotRun(chain(&error)),
            };
            findings.push(finding("utf8", Severity::Fatal, outcome));
        }
        Ok(tree) => {
            let image = Image { root, tree: &tree, options };
            for check in CHECKS.iter().filter(|check| !options.skip.iter().any(|name| name == check.facts.name)) {
                let outcome = match (check.run)(&image) {
                    Ok(None) => continue,
                    Ok(Some(problem)) => Outcome::Failed(problem),
                    Err(error) => Outcome::NotRun(chain(&error)),
                };
                findings.push(finding(check.facts.name, check.facts.severity, outcome));
            }
        }
    }
    findings.sort_by_key(|finding| finding.severity != Severity::Fatal);
    findings
}

/// An error with its sources, as one line.
fn chain(error: &SealError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A problem with the things it concerns; none where there are none.
fn items(problem: &str, found: impl IntoIterator<Item = String>) -> Option<String> {
    let all: Vec<String> = found.into_iter().collect();
    let more = all.len().saturating_sub(ITEMS);
    let named = all.get(..ITEMS).unwrap_or(&all).join(", ");
    match (all.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("{problem}: {named}")),
        (false, more) => Some(format!("{problem}: {named} and {more} more")),
    }
}

/// Everything below a folder that the survey passes over, by paths below the root.
fn below(root: &Path, folder: &str) -> Result<Vec<String>, SealError> {
    let top = root.join(folder);
    if !top.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return Ok(Vec::new());
    }
    walkdir::WalkDir::new(&top)
        .min_depth(1)
        .sort_by_file_name()
        .same_file_system(true)
        .into_iter()
        .map(|entry| {
            let entry = entry.map_err(|error| SealError::read(&top)(error.into()))?;
            let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
            Ok(path.to_string_lossy().into_owned())
        })
        .collect()
}

/// The UKIs of an image, by paths below its root.
fn ukis(root: &Path) -> Result<Vec<String>, SealError> {
    Ok(below(root, layout::image::UKI)?.into_iter().filter(|path| path.ends_with(".efi")).collect())
}

#[cfg(test)]
mod tests;

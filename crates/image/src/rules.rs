//! The rules of sealing, as `docs/contracts.md` lists them.
//!
//! One file per rule in the sealer's folder, and a variant's own lines in files called `<any>.<rule>` of the root's
//! `seal.d`, read in order of their names. `#` at the beginning of a line or after white space starts a reason.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use crate::{
    SealError,
    binaries::{self, Allowed},
    forbidden::Forbidden,
};

/// Where a root keeps its variant's lines.
pub(crate) const DROP_INS: &str = "usr/share/rocketos/seal.d";
/// Groups there are: each is a layer of the sealed image.
pub(crate) const GROUPS: usize = 12;
/// Bytes of one file of rules.
const FILE_BYTES: u64 = 1 << 20;

/// A line of a rules' file, without its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) path: PathBuf,
    pub(crate) number: usize,
}

impl Line {
    pub(crate) fn error(&self, problem: impl Into<String>) -> SealError {
        SealError::Rule { path: self.path.clone(), line: self.number, problem: problem.into() }
    }

    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.number)
    }
}

/// Many globs at once, each with the line it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Globs {
    set: GlobSet,
    lines: Vec<Line>,
}

impl Globs {
    pub(crate) fn new(lines: Vec<Line>, strip: &str) -> Result<Self, SealError> {
        let mut set = GlobSetBuilder::new();
        for line in &lines {
            let Some(pattern) = line.text.strip_prefix(strip) else {
                return Err(line.error(format!("'{}' does not begin with '{strip}'", line.text)));
            };
            set.add(glob(line, pattern)?);
        }
        let set = set.build().map_err(|error| SealError::Rule {
            path: lines.first().map(|line| line.path.clone()).unwrap_or_default(),
            line: 0,
            problem: error.to_string(),
        })?;
        Ok(Self { set, lines })
    }

    /// The first line whose pattern matches.
    pub(crate) fn find(&self, path: &str) -> Option<&Line> {
        self.index(path).map(|index| &self.lines[index])
    }

    /// The number, from 0, of that line.
    pub(crate) fn index(&self, path: &str) -> Option<usize> {
        self.set.matches(path).first().copied()
    }
}

fn glob(line: &Line, pattern: &str) -> Result<globset::Glob, SealError> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| line.error(error.to_string()))
}

/// A kernel option that must have a value.
#[derive(Debug, Clone)]
pub(crate) struct ConfigRule {
    pub(crate) option: String,
    /// `y`, `m`, a string or number; absent where the option must be unset.
    pub(crate) value: Option<String>,
    pub(crate) line: Line,
}

/// A package of which nothing stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildOnly {
    pub(crate) package: String,
    /// Stays where a package that stays depends on it.
    pub(crate) unless_needed: bool,
}

/// A module of the initramfs.
#[derive(Debug, Clone)]
pub(crate) struct InitramfsModule {
    pub(crate) name: String,
    pub(crate) optional: bool,
    pub(crate) line: Line,
}

/// All rules of one sealing.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) build_only: Vec<BuildOnly>,
    pub(crate) prune: Globs,
    pub(crate) pins: Vec<(GlobMatcher, usize)>,
    pub(crate) modules_drop: Globs,
    pub(crate) initramfs: Vec<InitramfsModule>,
    pub(crate) cmdline: Vec<Line>,
    /// What may be added to it.
    pub(crate) allowed: Vec<Line>,
    pub(crate) config: Vec<ConfigRule>,
    pub(crate) forbidden: Forbidden,
    pub(crate) binaries: Allowed,
}

impl Rules {
    /// Reads `<folder>/<rule>` and the root's drop-ins.
    pub(crate) fn read(folder: &Path, root: &Path) -> Result<Self, SealError> {
        let drop_ins = root.join(DROP_INS);
        let lines = |rule: &str| -> Result<Vec<Line>, SealError> {
            let mut lines = reasoned(&folder.join(rule))?;
            for path in drop_ins_of(&drop_ins, rule)? {
                lines.extend(reasoned(&path)?);
            }
            Ok(lines)
        };
        check_drop_ins(&drop_ins)?;
        let cmdline = lines("cmdline")?;
        for line in &cmdline {
            let key = line.text.split('=').next().unwrap_or_default();
            if [rocketos_model::cmdline::KEY, rocketos_model::cmdline::LEGACY_KEY, "enforcing", "selinux"]
                .contains(&key)
            {
                return Err(line.error(format!("{key}= is written by sealing alone")));
            }
        }
        let allowed = lines("cmdline.allowed")?;
        if let Some(line) = allowed.iter().find(|line| !rocketos_model::cmdline::Allowed::is_line(&line.text)) {
            return Err(line.error(format!("'{}' is no name of an argument, nor <beginning>.*", line.text)));
        }
        Ok(Self {
            allowed,
            build_only: lines("build-only.packages")?.iter().map(build_only).collect::<Result<_, _>>()?,
            prune: Globs::new(lines("prune")?, "/")?,
            pins: lines("groups")?.iter().map(pin).collect::<Result<_, _>>()?,
            modules_drop: Globs::new(lines("modules.drop")?, "")?,
            initramfs: lines("initramfs.modules")?.into_iter().map(initramfs_module).collect::<Result<_, _>>()?,
            cmdline,
            config: config(folder, &drop_ins)?,
            forbidden: forbidden(lines(FORBIDDEN)?)?,
            binaries: binaries::allowed(&lines(binaries::ALLOWED)?)?,
        })
    }
}

/// Every rule there is.
const NAMES: [&str; 10] = [
    "build-only.packages",
    "prune",
    "groups",
    "modules.drop",
    "initramfs.modules",
    "cmdline",
    "cmdline.allowed",
    "config.required",
    FORBIDDEN,
    binaries::ALLOWED,
];
/// The rule that names what has no place on a node.
const FORBIDDEN: &str = "forbidden";

fn entries(drop_ins: &Path) -> Result<Vec<PathBuf>, SealError> {
    let listed = match fs::read_dir(drop_ins) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SealError::read(drop_ins)(error)),
    };
    let mut found = listed
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(SealError::read(drop_ins))?;
    found.sort();
    Ok(found)
}

fn is_rule(path: &Path, rule: &str) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_suffix(rule))
        .is_some_and(|any| any.len() > 1 && any.ends_with('.'))
}

fn drop_ins_of(drop_ins: &Path, rule: &str) -> Result<Vec<PathBuf>, SealError> {
    Ok(entries(drop_ins)?.into_iter().filter(|path| is_rule(path, rule)).collect())
}

/// A misspelt drop-in must not be passed over in silence.
fn check_drop_ins(drop_ins: &Path) -> Result<(), SealError> {
    match entries(drop_ins)?.into_iter().find(|path| !NAMES.iter().any(|rule| is_rule(path, rule))) {
        None => Ok(()),
        Some(path) => Err(SealError::Rule {
            path,
            line: 0,
            problem: format!("a drop-in is called <any>.<rule>, with one of {}", NAMES.join(", ")),
        }),
    }
}

fn numbered(path: &Path) -> Result<Vec<Line>, SealError> {
    let size = match fs::metadata(path) {
        Ok(found) => found.len(),
        // A rule nobody wrote asks for nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SealError::read(path)(error)),
    };
    if size > FILE_BYTES {
        return Err(SealError::TooLarge { path: path.display().to_string(), found: size, limit: FILE_BYTES });
    }
    let text = fs::read_to_string(path).map_err(SealError::read(path))?;
    Ok(text
        .lines()
        .enumerate()
        .map(|(index, text)| Line { text: text.trim().to_owned(), path: path.to_owned(), number: index + 1 })
        .filter(|line| !line.text.is_empty())
        .collect())
}

/// What stands before the reason.
fn rule_of(text: &str) -> &str {
    let mut before = ' ';
    let end = text
        .char_indices()
        .find(|(_, now)| {
            let starts = *now == '#' && before.is_whitespace();
            before = *now;
            starts
        })
        .map_or(text.len(), |(at, _)| at);
    text[..end].trim()
}

fn reasoned(path: &Path) -> Result<Vec<Line>, SealError> {
    Ok(numbered(path)?
        .into_iter()
        .map(|line| Line { text: rule_of(&line.text).to_owned(), ..line })
        .filter(|line| !line.text.is_empty())
        .collect())
}

/// Programs and libraries that lint lets have faults; none where the file is missing.
pub(crate) fn binaries(folder: &Path) -> Result<Allowed, SealError> {
    binaries::allowed(&reasoned(&folder.join(binaries::ALLOWED))?)
}

/// Absolute paths with their reasons, without the leading `/`; none where the file is missing.
pub(crate) fn paths(file: &Path) -> Result<std::collections::BTreeSet<String>, SealError> {
    reasoned(file)?
        .into_iter()
        .map(|line| match line.text.strip_prefix('/') {
            Some(path) => Ok(path.to_owned()),
            None => Err(line.error(format!("'{}' does not begin with '/'", line.text))),
        })
        .collect()
}

fn optional(text: &str) -> (&str, bool) {
    text.strip_suffix('?').map_or((text, false), |name| (name, true))
}

fn build_only(line: &Line) -> Result<BuildOnly, SealError> {
    let (name, unless_needed) = optional(&line.text);
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    match !name.is_empty() && name.chars().all(valid) {
        true => Ok(BuildOnly { package: name.to_owned(), unless_needed }),
        false => Err(line.error(format!("'{}' is no name of a Debian package", line.text))),
    }
}

fn pin(line: &Line) -> Result<(GlobMatcher, usize), SealError> {
    let expected = format!("expected '<package glob> <group>', the group from 00 to {:02}", GROUPS - 1);
    let mut words = line.text.split_whitespace();
    let (Some(pattern), Some(group), None) = (words.next(), words.next(), words.next()) else {
        return Err(line.error(expected));
    };
    match group.parse() {
        Ok(number) if number < GROUPS => Ok((glob(line, pattern)?.compile_matcher(), number)),
        _ => Err(line.error(expected)),
    }
}

fn initramfs_module(line: Line) -> Result<InitramfsModule, SealError> {
    let (name, optional) = optional(&line.text);
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(line.error(format!("'{}' is no name of a module", line.text)));
    }
    Ok(InitramfsModule { name: crate::modules::normal(name), optional, line })
}

/// The lines `<what> package|path|content <pattern>`.
fn forbidden(lines: Vec<Line>) -> Result<Forbidden, SealError> {
    let (mut packages, mut paths, mut path_words, mut contents) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        let expected = "expected '<what> package <glob>', '<what> path <glob>' or '<what> content <text>'";
        let mut words = line.text.splitn(3, char::is_whitespace).map(str::trim);
        let (Some(what), Some(by), Some(pattern)) = (words.next(), words.next(), words.next()) else {
            return Err(line.error(expected));
        };
        let (what, pattern) = (what.to_owned(), pattern.to_owned());
        match by {
            "package" => packages.push((glob(&line, &pattern)?.compile_matcher(), what)),
            "content" => contents.push((pattern, what)),
            "path" => {
                path_words.push(what);
                paths.push(Line { text: pattern, ..line });
            }
            _ => return Err(line.error(expected)),
        }
    }
    Ok(Forbidden { packages, paths: Globs::new(paths, "/")?, path_words, contents })
}

/// What `<folder>/forbidden` names.
pub(crate) fn forbidden_in(folder: &Path) -> Result<Forbidden, SealError> {
    forbidden(reasoned(&folder.join(FORBIDDEN))?)
}

/// `config.required` keeps the kernel's own way of saying that an option is unset.
pub(crate) fn config(folder: &Path, drop_ins: &Path) -> Result<Vec<ConfigRule>, SealError> {
    let rule = "config.required";
    let mut lines = numbered(&folder.join(rule))?;
    for path in drop_ins_of(drop_ins, rule)? {
        lines.extend(numbered(&path)?);
    }
    let mut rules = Vec::new();
    for line in lines {
        let unset = line
            .text
            .strip_prefix("# CONFIG_")
            .and_then(|rest| rest.split_once(" is not set"))
            .filter(|(name, _)| !name.contains(' '));
        if let Some((name, _)) = unset {
            let option = format!("CONFIG_{name}");
            rules.push(ConfigRule { option, value: None, line });
            continue;
        }
        let text = rule_of(&line.text).to_owned();
        if text.is_empty() {
            continue;
        }
        match text.split_once('=') {
            Some((option, value)) if option.starts_with("CONFIG_") && !value.is_empty() => {
                rules.push(ConfigRule { option: option.to_owned(), value: Some(value.to_owned()), line })
            }
            _ => return Err(line.error("expected CONFIG_X=<value> or '# CONFIG_X is not set'")),
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let made = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(made.path().join(name), text).unwrap();
        }
        made
    }

    fn error(name: &str, text: &str) -> String {
        let made = folder(&[(name, text)]);
        let said = Rules::read(made.path(), Path::new("/nonexistent")).unwrap_err().to_string();
        said.replace(&format!("{}/", made.path().display()), "")
    }

    #[test]
    fn reads_lines_without_their_reasons() {
        let made = folder(&[
            ("build-only.packages", "## Heading\napt  # installs\n\nlibfoo1? # maybe\n"),
            ("prune", "/usr/share/doc/**\n/etc/file#1\n"),
            ("groups", "podman 03 # large\nlibsystemd* 05\n"),
            ("cmdline", "console=ttyS0,115200 # serial\nquiet\n"),
            ("config.required", "# Words.\nCONFIG_A=m # why\n# CONFIG_B is not set\n"),
            ("initramfs.modules", "xen-blkfront\nold?\n"),
        ]);
        let rules = Rules::read(made.path(), Path::new("/nonexistent")).unwrap();
        let names: Vec<_> = rules.build_only.iter().map(|rule| (rule.package.as_str(), rule.unless_needed)).collect();
        assert_eq!(names, [("apt", false), ("libfoo1", true)]);
        assert!(rules.prune.find("usr/share/doc/a/b").is_some());
        assert!(rules.prune.find("usr/share/doc").is_none());
        assert_eq!(rules.prune.find("etc/file#1").unwrap().number, 2);
        assert_eq!(rules.cmdline[0].text, "console=ttyS0,115200");
        let config: Vec<_> = rules.config.iter().map(|rule| (rule.option.as_str(), rule.value.as_deref())).collect();
        assert_eq!(config, [("CONFIG_A", Some("m")), ("CONFIG_B", None)]);
        assert_eq!(rules.initramfs[0].name, "xen_blkfront");
        assert!(rules.initramfs[1].optional);
        assert!(rules.pins[1].0.is_match("libsystemd0"));
    }

    #[test]
    fn names_file_and_line_of_a_bad_rule() {
        for (name, text, expected) in [
            ("prune", "\nusr/share\n", "prune:2: 'usr/share' does not begin with '/'"),
            ("groups", "podman 12\n", "groups:1: expected '<package glob> <group>', the group from 00 to 11"),
            ("groups", "podman\n", "groups:1: expected '<package glob> <group>', the group from 00 to 11"),
            ("build-only.packages", "Apt\n", "build-only.packages:1: 'Apt' is no name of a Debian package"),
            ("cmdline", "composefs.digest=x\n", "cmdline:1: composefs.digest= is written by sealing alone"),
            (
                "config.required",
                "CONFIG_X\n",
                "config.required:1: expected CONFIG_X=<value> or '# CONFIG_X is not set'",
            ),
        ] {
            assert_eq!(error(name, text), expected);
        }
        assert!(error("prune", "/a[\n").starts_with("prune:1: "));
    }

    #[test]
    fn adds_a_variants_lines_and_refuses_a_misspelt_drop_in() {
        let made = folder(&[("prune", "/a\n")]);
        let root = tempfile::tempdir().unwrap();
        let drop_ins = root.path().join(DROP_INS);
        fs::create_dir_all(&drop_ins).unwrap();
        fs::write(drop_ins.join("mine.prune"), "/b\n").unwrap();
        let rules = Rules::read(made.path(), root.path()).unwrap();
        assert!(rules.prune.find("a").is_some() && rules.prune.find("b").is_some());
        fs::write(drop_ins.join("mine.prunes"), "/c\n").unwrap();
        assert!(Rules::read(made.path(), root.path()).is_err());
    }
}

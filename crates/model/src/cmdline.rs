//! The one kernel argument that says what may be the root.
//!
//! `composefs.digest=v1-sha512-12:<128 hex digits>`: EROFS format 1, fs-verity SHA-512 over blocks of 2^12 bytes, as
//! composefs-setup-root 0.9 and bootc 1.16 read it. Their older `composefs=` names the same thing, so both keys
//! count when looking for a second digest.

use crate::{ComposefsDigest, DigestError};

/// The key, without `=`.
pub const KEY: &str = "composefs.digest";
/// The older key for another EROFS format; never written, never accepted, never passed over.
pub const LEGACY_KEY: &str = "composefs";
/// EROFS format, hash and logarithm of the block size.
pub const FORMAT: &str = "v1-sha512-12";

/// A command line that does not name exactly one image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CmdlineError {
    /// No digest at all.
    #[error("the kernel command line has no {KEY}=")]
    Missing,
    /// More than one, in whatever form.
    #[error("the kernel command line names {0} images; exactly one is allowed")]
    Several(usize),
    /// A form that would not verify what it opens, or that this program does not know.
    #[error("'{0}' is not {KEY}={FORMAT}:<digest>")]
    Form(String),
    /// It does not begin with what was sealed.
    #[error("the kernel command line does not begin with the one that was sealed")]
    NotSealed,
    /// Something was added that this image does not take from outside.
    #[error("'{0}' was added to the kernel command line; the image takes only what its cmdline.allowed names")]
    Foreign(String),
    /// The digest itself.
    #[error("the digest of {KEY}= is malformed")]
    Digest(#[source] DigestError),
}

/// Splits as the kernel does: at white space outside double quotes, which cannot be escaped.
pub fn split(cmdline: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    cmdline
        .split(move |c: char| {
            quoted ^= c == '"';
            !quoted && c.is_ascii_whitespace()
        })
        .filter(|word| !word.is_empty())
}

/// The argument for an image.
pub fn argument(digest: &ComposefsDigest) -> String {
    format!("{KEY}={FORMAT}:{digest}")
}

/// The one image that `cmdline` allows as the root.
///
/// # Errors
/// When there is none, more than one under any key, or one in another form than [`argument`] writes; a leading `?`
/// (verity optional) is another form.
pub fn digest(cmdline: &str) -> Result<ComposefsDigest, CmdlineError> {
    // The kernel strips quotes around a whole word; a quoted key must not slip past the count.
    let found: Vec<String> = split(cmdline)
        .map(|word| word.replace('"', ""))
        .filter(|word| {
            let key = word.split_once('=').map_or(word.as_str(), |(key, _)| key);
            key == KEY || key == LEGACY_KEY
        })
        .collect();
    match found.as_slice() {
        [] => Err(CmdlineError::Missing),
        [one] => one
            .strip_prefix(KEY)
            .and_then(|rest| rest.strip_prefix('='))
            .and_then(|value| value.split_once(':'))
            .filter(|(format, _)| *format == FORMAT)
            .ok_or_else(|| CmdlineError::Form(one.clone()))?
            .1
            .parse()
            .map_err(CmdlineError::Digest),
        several => Err(CmdlineError::Several(several.len())),
    }
}

/// Which arguments may be added to those that were sealed: names, one a line; `name.*` is every name that begins so.
///
/// As with the kernel, `-` and `_` are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(Vec<String>);

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

impl Allowed {
    /// The line of an image that takes everything, which is `dev` alone.
    pub const ALL: &str = "*";

    /// Those that `text` names.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(normal).collect())
    }

    /// True where `line` could stand in such a list.
    pub fn is_line(line: &str) -> bool {
        let name = line.strip_suffix(".*").unwrap_or(line);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        line == Self::ALL || (name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain))
    }

    /// True for one argument of an allowed name, in plain characters: kernel and systemd split and unquote each in its own
    /// way, so what has quotes, escapes, control characters or other than ASCII could be two arguments to one of them.
    pub fn allows(&self, word: &str) -> bool {
        if !word.chars().all(|c| c.is_ascii_graphic() && !"\"'\\".contains(c)) {
            return false;
        }
        let name = normal(word.split_once('=').map_or(word, |(name, _)| name));
        self.0.iter().any(|line| match line.strip_suffix('*') {
            Some(beginning) => name.len() > beginning.len() && name.starts_with(beginning),
            None => name == *line,
        })
    }

    /// Refuses a command line that is not `sealed` and allowed arguments behind it.
    ///
    /// # Errors
    /// [`CmdlineError::NotSealed`], and [`CmdlineError::Foreign`] with the first argument that is not allowed.
    pub fn check(&self, cmdline: &str, sealed: &str) -> Result<(), CmdlineError> {
        let mut words = split(cmdline);
        if !split(sealed).all(|word| words.next() == Some(word)) {
            return Err(CmdlineError::NotSealed);
        }
        match words.find(|word| !self.allows(word)) {
            None => Ok(()),
            Some(word) => Err(CmdlineError::Foreign(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_allowed_arguments_behind_the_sealed_ones() {
        let sealed = format!("{KEY}={FORMAT}:{} console=ttyS0 quiet", hex());
        let allowed = Allowed::parse("console\nnvme-core.*\n\nhugepages\n");
        let check = |line: &str| allowed.check(line, &sealed);
        for extra in ["", "\n", " console=tty1", " hugepages=4  nvme_core.io-timeout=3", " nvme-core.x"] {
            assert_eq!(check(&format!("{sealed}{extra}")), Ok(()), "{extra}");
        }
        for extra in [
            "init=/bin/sh",
            "systemd.unit=x",
            "rd.break",
            "enforcing=0",
            "lsm=",
            "--",
            "Console=x",
            "nvme_core.",
            "nvme_core",
            "composefs=x",
            "\"console=a init=/x\"",
            "console='a",
            "console=a\u{b}init=/x",
            "console=\u{a0}init=/x",
            "console=\u{e0}x",
            "console=a\\",
        ] {
            let found = check(&format!("{sealed} quiet {extra}"));
            assert_eq!(found, Err(CmdlineError::Foreign("quiet".to_owned())), "quiet is not in the list");
            let found = check(&format!("{sealed} console=a {extra}"));
            assert!(matches!(found, Err(CmdlineError::Foreign(_))), "{extra}: {found:?}");
        }
        for line in ["", "quiet", "init=/x", &sealed[..sealed.len() - 1], &format!("init=/x {sealed}")] {
            assert_eq!(check(line), Err(CmdlineError::NotSealed), "{line}");
        }
        for (line, is) in
            [("*", true), ("a.*", true), ("a_b-c", true), ("", false), ("a*", false), ("A", false), ("-", false)]
        {
            assert_eq!(Allowed::is_line(line), is, "{line}");
        }
    }

    fn hex() -> String {
        "5a".repeat(64)
    }

    #[test]
    fn reads_back_what_it_writes() {
        let digest_ = hex().parse().unwrap();
        assert_eq!(digest(&format!("quiet {} panic=10\n", argument(&digest_))), Ok(digest_));
    }

    #[test]
    fn refuses_everything_but_exactly_one_verified_digest() {
        let good = format!("{KEY}={FORMAT}:{}", hex());
        assert_eq!(digest("quiet"), Err(CmdlineError::Missing));
        assert_eq!(digest(&format!("{good} {good}")), Err(CmdlineError::Several(2)));
        assert_eq!(digest(&format!("{good} composefs={}", hex())), Err(CmdlineError::Several(2)));
        assert_eq!(digest(&format!("{good} \"composefs={}\"", hex())), Err(CmdlineError::Several(2)));
        for form in [
            format!("{KEY}=?{FORMAT}:{}", hex()),
            format!("composefs={}", hex()),
            format!("{KEY}=v2-sha512-12:{}", hex()),
            format!("{KEY}={}", hex()),
            KEY.to_owned(),
        ] {
            assert!(matches!(digest(&form), Err(CmdlineError::Form(_))), "{form}");
        }
        assert!(matches!(digest(&format!("{KEY}={FORMAT}:12")), Err(CmdlineError::Digest(_))));
    }

    #[test]
    fn splits_like_the_kernel() {
        let words: Vec<_> = split("a  \"b c\" d=\"e f\"\n").collect();
        assert_eq!(words, ["a", "\"b c\"", "d=\"e f\""]);
    }
}

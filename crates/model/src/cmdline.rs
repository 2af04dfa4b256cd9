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

#[cfg(test)]
mod tests {
    use super::*;

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

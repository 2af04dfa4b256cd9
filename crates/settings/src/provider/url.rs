//! An address on the kernel's command line, and the SHA-256 of what is there.
//!
//! A command line is sealed with its kernel, or added by whom the image allows (`kernel/cmdline.allowed`): user data configures, whoever
//! names it.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{DOCUMENT_BYTES, Machine, Provider, Seen, Web, When, argument, web::Fetcher};
use crate::{
    model::value::HttpUrl,
    userdata::{Fetch as _, UserDataError},
};

/// The argument with the address.
pub const ADDRESS: &str = "rocketos.user-data-url";
/// The argument with the hash.
pub const HASH: &str = "rocketos.user-data-sha256";
/// Digits of a hash.
const DIGITS: usize = 64;

/// What is remembered is not fetched again while the hash is the same.
pub const PROVIDER: Provider = Provider {
    order: 60,
    name: "url",
    when: When::EveryBoot,
    look,
    promised: |machine| Some(named(machine.root()).ok()??.1),
};

fn look(machine: &mut dyn Machine, web: Option<&mut dyn Web>) -> Result<Seen, String> {
    let Some((url, expected)) = named(machine.root())? else { return Ok(Seen::Nothing) };
    let Some(web) = web else { return Ok(Seen::Later) };
    let bytes = Fetcher(web).fetch(url.as_str(), DOCUMENT_BYTES).map_err(|why| format!("{url}: {why}"))?;
    let found = hex::encode(Sha256::digest(&bytes));
    match found == expected {
        true => Ok(Seen::Bytes(bytes)),
        false => Err(format!("{url}: {}", UserDataError::Hash { expected, found })),
    }
}

/// What the command line names.
fn named(root: &Path) -> Result<Option<(HttpUrl, String)>, String> {
    let (url, sha256) = match (argument(root, ADDRESS)?, argument(root, HASH)?) {
        (None, None) => return Ok(None),
        (Some(url), Some(sha256)) => (url, sha256),
        (Some(_), None) => return Err(format!("the kernel command line has {ADDRESS}= and no {HASH}=")),
        (None, Some(_)) => return Err(format!("the kernel command line has {HASH}= and no {ADDRESS}=")),
    };
    let url = url.parse().map_err(|error| format!("{ADDRESS}: {error}"))?;
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match sha256.len() == DIGITS && sha256.bytes().all(digit) {
        true => Ok(Some((url, sha256))),
        false => Err(format!("{HASH} has {DIGITS} lower-case hexadecimal digits")),
    }
}

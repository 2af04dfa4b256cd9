//! User data: a document that whoever provides the machine hands in. TOML, as it is, in gzip, in base64, or both.
//!
//! Owns what the bytes say. Where they are from, and what `include` names, is fetched by the caller ([`Fetch`]).

use std::{collections::BTreeMap, io::Read as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{Key, KeyError, ROOT, Tree, TreeError, model::value::HttpUrl};

/// Bytes as they are handed in, and as a URL answers.
pub const DOCUMENT_BYTES: usize = 1 << 20;
/// Bytes after gzip and base64.
pub const UNPACKED_BYTES: usize = 2 << 20;
/// How often gzip or base64 may be around one another.
pub const WRAPPINGS: usize = 3;
/// Documents that are included, all together.
pub const INCLUDES: usize = 16;
/// How deep documents include others.
pub const INCLUDE_DEPTH: usize = 4;
/// How a document in gzip begins (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// How documents begin that are meant for others: scripts, and cloud-init's.
const OTHERS: [&str; 2] = ["#!", "#cloud-"];
/// The array of other documents.
const INCLUDE: &str = "include";

/// What is wrong with user data. No message has a value in it: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    /// More than is read.
    #[error("user data has more than {most} bytes{}", if *.unpacked { " when unpacked" } else { "" })]
    TooLong {
        /// The limit.
        most: usize,
        /// True where it was packed.
        unpacked: bool,
    },
    /// Packed in packed in packed.
    #[error("user data is packed more than {WRAPPINGS} times")]
    Wrapped,
    /// A stream that breaks off.
    #[error("user data begins as gzip and cannot be unpacked")]
    Gzip,
    /// No text.
    #[error("user data is no text in UTF-8")]
    NoText,
    /// Not TOML.
    #[error("line {line}, column {column}: {message}")]
    Toml {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What the reader says.
        message: String,
    },
    /// A form of its own that is not ours.
    #[error("user data begins with '{0}'; TOML is expected, with settings below [settings]")]
    Other(String),
    /// What settings do not have.
    #[error("line {line}: {message}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Beyond the bounds of a tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// An included document.
    #[error("{url}, included: {problem}")]
    Included {
        /// Where it is.
        url: String,
        /// What is wrong with it.
        problem: Box<UserDataError>,
    },
    /// It could not be had.
    #[error("it cannot be fetched: {0}")]
    Fetch(String),
    /// It is another.
    #[error("its SHA-256 is {found}, not {expected}")]
    Hash {
        /// As named.
        expected: String,
        /// As found.
        found: String,
    },
    /// More than are fetched.
    #[error("user data includes more than {INCLUDES} documents, or more than {INCLUDE_DEPTH} deep")]
    Includes,
}

/// Another document that is part of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Where it is.
    pub url: HttpUrl,
    /// The SHA-256 of its bytes, 64 lower-case hex digits.
    pub sha256: String,
}

/// What a document says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Its settings.
    pub tree: Tree,
    /// The line of each.
    pub lines: BTreeMap<Key, usize>,
    /// Documents that lie below it, in their order: a later one over an earlier one, this one over all.
    pub include: Vec<Include>,
}

/// Who fetches what a document includes.
pub trait Fetch {
    /// The bytes at a URL, at most `most` of them; why not, in words.
    ///
    /// # Errors
    /// When they cannot be had, or are more.
    fn fetch(&mut self, url: &str, most: usize) -> Result<Vec<u8>, String>;
}

/// Reads a document as it was handed in.
///
/// # Errors
/// When it cannot be unpacked, is no TOML of this form, or is beyond a limit.
pub fn parse(bytes: &[u8]) -> Result<Document, UserDataError> {
    parse_text(&unpack(bytes)?)
}

/// Reads a document, and puts what it includes below it. Lines are then those of this document alone.
///
/// # Errors
/// As [`parse`], of each document; when one is not what its hash says, or there are too many. None can include itself: it would have
/// to have its own hash in it.
pub fn gather(bytes: &[u8], fetch: &mut impl Fetch) -> Result<Document, UserDataError> {
    let mut document = parse(bytes)?;
    let mut below = Tree::default();
    let mut left = INCLUDES;
    include(&mut document, 0, &mut left, fetch, &mut below)?;
    let lines = std::mem::take(&mut document.lines);
    Ok(Document { tree: below, lines, include: Vec::new() })
}

fn include(
    document: &mut Document,
    depth: usize,
    left: &mut usize,
    fetch: &mut impl Fetch,
    into: &mut Tree,
) -> Result<(), UserDataError> {
    for one in std::mem::take(&mut document.include) {
        let failed = |problem| UserDataError::Included { url: one.url.to_string(), problem: Box::new(problem) };
        if *left == 0 || depth >= INCLUDE_DEPTH {
            return Err(UserDataError::Includes);
        }
        *left -= 1;
        let bytes = fetch.fetch(one.url.as_str(), DOCUMENT_BYTES).map_err(|why| failed(UserDataError::Fetch(why)))?;
        let found = hex::encode(Sha256::digest(&bytes));
        if found != one.sha256 {
            return Err(failed(UserDataError::Hash { expected: one.sha256.clone(), found }));
        }
        let mut inner = parse(&bytes).map_err(failed)?;
        include(&mut inner, depth + 1, left, fetch, into).map_err(failed)?;
    }
    into.merge(&document.tree).map_err(UserDataError::Tree)
}

/// The text: out of gzip and base64, whichever is around it.
fn unpack(bytes: &[u8]) -> Result<String, UserDataError> {
    let bounded = |bytes: &[u8], most, unpacked| match bytes.len() > most {
        true => Err(UserDataError::TooLong { most, unpacked }),
        false => Ok(()),
    };
    bounded(bytes, DOCUMENT_BYTES, false)?;
    let mut bytes = bytes.to_vec();
    for _ in 0..=WRAPPINGS {
        bytes = if bytes.starts_with(&GZIP) {
            let mut unpacked = Vec::new();
            let mut reader = GzDecoder::new(bytes.as_slice()).take(UNPACKED_BYTES as u64 + 1);
            reader.read_to_end(&mut unpacked).map_err(|_| UserDataError::Gzip)?;
            bounded(&unpacked, UNPACKED_BYTES, true)?;
            unpacked
        } else if let Some(decoded) = base64(&bytes) {
            decoded
        } else {
            return String::from_utf8(bytes).map_err(|_| UserDataError::NoText);
        };
    }
    Err(UserDataError::Wrapped)
}

/// What base64 holds, where it is that and nothing else: TOML has '=' and blanks between, and the shortest is no base64.
fn base64(bytes: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    if digits.is_empty() {
        return None;
    }
    STANDARD.decode(digits).ok()
}

/// Reads a document's text.
pub(crate) fn parse_text(text: &str) -> Result<Document, UserDataError> {
    let first = text.trim_start().lines().next().unwrap_or_default();
    if OTHERS.iter().any(|start| first.starts_with(start)) {
        return Err(UserDataError::Other(first.chars().take(40).filter(|c| !c.is_control()).collect()));
    }
    let before = |offset: usize| &text.as_bytes()[..offset.min(text.len())];
    // Looked up for every key.
    let ends: Vec<usize> = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let at = |offset: usize| ends.partition_point(|end| *end < offset) + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = before(offset).rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(line).chars().count() + 1;
        UserDataError::Toml { line: at(offset), column, message: error.message().to_owned() }
    })?;
    let mut document = Document::default();
    for (name, value) in table.get_ref() {
        let line = at(name.span().start);
        let wrong = |message: String| UserDataError::Line { line, message };
        match (name.get_ref().as_ref(), value.get_ref()) {
            (ROOT, DeValue::Table(settings)) => {
                let mut reader = Reader { at: &at, lines: &mut document.lines };
                let value = reader.table(&mut Vec::new(), settings)?;
                document.tree = Tree::from_value(value)?;
            }
            (INCLUDE, DeValue::Array(all)) => {
                for one in all.iter() {
                    document.include.push(parse_include(one.get_ref()).map_err(wrong)?);
                }
            }
            (ROOT, _) => return Err(wrong("'settings' is a table".to_owned())),
            (INCLUDE, _) => return Err(wrong("'include' is an array of tables: { url, sha256 }".to_owned())),
            (other, _) => {
                let other: String = other.chars().take(80).filter(|c| !c.is_control()).collect();
                return Err(wrong(format!(
                    "'{other}' is neither 'settings' nor 'include'; settings are below [settings]"
                )));
            }
        }
    }
    Ok(document)
}

fn parse_include(value: &DeValue<'_>) -> Result<Include, String> {
    let wrong = || "an include has a url and its sha256, and nothing else".to_owned();
    let table = value.as_table().ok_or_else(wrong)?;
    let of = |name: &str| table.get(name).and_then(|value| value.get_ref().as_str());
    let (Some(url), Some(sha256), 2) = (of("url"), of("sha256"), table.len()) else { return Err(wrong()) };
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match sha256.len() == 64 && sha256.bytes().all(digit) {
        true => Ok(Include { url: url.parse()?, sha256: sha256.to_owned() }),
        false => Err("a sha256 has 64 lower-case hexadecimal digits".to_owned()),
    }
}

/// Turns TOML into JSON, and remembers lines.
struct Reader<'a> {
    at: &'a dyn Fn(usize) -> usize,
    lines: &'a mut BTreeMap<Key, usize>,
}

impl Reader<'_> {
    fn table(&mut self, names: &mut Vec<String>, table: &DeTable<'_>) -> Result<Value, UserDataError> {
        let mut values = Map::new();
        for (name, value) in table {
            let line = (self.at)(name.span().start);
            let wrong = |error: KeyError| UserDataError::Line { line, message: error.to_string() };
            names.push(name.get_ref().to_string());
            let key = Key::new(names.as_slice()).map_err(wrong)?;
            let inner = match value.get_ref() {
                DeValue::Table(inner) => self.table(names, inner)?,
                _ => {
                    self.lines.insert(key, line);
                    self.value(value)?
                }
            };
            names.pop();
            values.insert(name.get_ref().to_string(), inner);
        }
        Ok(Value::Object(values))
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Result<Value, UserDataError> {
        let wrong =
            |message: &str| UserDataError::Line { line: (self.at)(value.span().start), message: message.to_owned() };
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Boolean(value) => Value::from(*value),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::from)
                .map_err(|_| wrong("a number has at most 63 bits and a sign"))?,
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok().and_then(Number::from_f64);
                number.map(Value::Number).ok_or_else(|| wrong("no setting is infinite, or no number"))?
            }
            DeValue::Datetime(_) => return Err(wrong("no setting is a date: write it as a text, in quotes")),
            DeValue::Array(values) => {
                Value::Array(values.iter().map(|value| self.value(value)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => {
                let pair = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                    let name: &std::borrow::Cow<'_, str> = name.get_ref();
                    self.value(value).map(|value| (name.to_string(), value))
                };
                Value::Object(table.iter().map(pair).collect::<Result<_, _>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests;

//! A denial as the kernel logs it.

use std::collections::BTreeSet;

use serde::Serialize;

/// What was refused (the record of `avc_audit`, kernel, security/selinux/avc.c).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Denial {
    /// Permissions, as the class names them.
    pub permissions: BTreeSet<String>,
    /// The class of the object.
    pub class: String,
    /// Who.
    pub source: Context,
    /// On what.
    pub target: Context,
    /// The program's name, cut at 15 bytes.
    pub program: Option<String>,
    /// The object's name or path, as far as the kernel knew it.
    pub object: Option<String>,
    /// It was let happen: nothing is enforced.
    pub permissive: bool,
}

/// A security context.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Context {
    /// The type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Categories of the highest level.
    pub categories: BTreeSet<u16>,
}

impl Denial {
    /// Reads a line; none where it is about something else.
    pub fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("avc:")?;
        let (permissions, fields) =
            rest.trim_start().strip_prefix("denied")?.trim_start().strip_prefix('{')?.split_once('}')?;
        let permissions = permissions.split_whitespace().map(str::to_owned).collect();
        let field = |name: &str| field(fields, name);
        Some(Self {
            permissions,
            class: field("tclass")?,
            source: Context::parse(&field("scontext")?)?,
            target: Context::parse(&field("tcontext")?)?,
            program: field("comm"),
            object: field("path").or_else(|| field("name")),
            permissive: field("permissive").is_some_and(|value| value == "1"),
        })
    }
}

/// `name=value`, the value in quotes, as bytes in hexadecimal digits, or plain.
fn field(fields: &str, name: &str) -> Option<String> {
    let key = format!(" {name}=");
    let (_, rest) = fields.split_once(&key)?;
    if let Some(quoted) = rest.strip_prefix('"') {
        return Some(quoted.split_once('"')?.0.to_owned());
    }
    let value = rest.split_whitespace().next()?;
    let named = matches!(name, "comm" | "path" | "name");
    Some(if named { unhex(value).unwrap_or_else(|| value.to_owned()) } else { value.to_owned() })
}

/// What audit writes in hexadecimal digits because of a character in it.
fn unhex(digits: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect();
    String::from_utf8(bytes?).ok()
}

impl Context {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let type_ = parts.nth(2)?.to_owned();
        // `s0:c1,c5.c7`, or a range of two such levels.
        let highest = parts.next().unwrap_or_default().rsplit('-').next().unwrap_or_default();
        let mut categories = BTreeSet::new();
        for part in highest.split_once(':').map_or("", |(_, categories)| categories).split(',') {
            let number = |word: &str| word.strip_prefix('c').and_then(|digits| digits.parse::<u16>().ok());
            let (first, last) = part.split_once('.').unwrap_or((part, part));
            if let (Some(first), Some(last)) = (number(first), number(last)) {
                categories.extend(first..=last);
            }
        }
        Some(Self { type_, categories })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_logs() {
        let line = "audit: type=1400 audit(1790000000.1:7): avc:  denied  { write open } for  pid=9 comm=\"sh\" \
            path=2F746D702F6120622E747874 dev=\"vda2\" ino=12 scontext=system_u:system_r:container_t:s0:c5,c7.c9 \
            tcontext=system_u:object_r:store_t:s0 tclass=file permissive=0";
        let denial = Denial::parse(line).unwrap();
        assert_eq!(denial.permissions.iter().map(String::as_str).collect::<Vec<_>>(), ["open", "write"]);
        assert_eq!((denial.class.as_str(), denial.source.type_.as_str()), ("file", "container_t"));
        assert_eq!(denial.source.categories.iter().copied().collect::<Vec<_>>(), [5, 7, 8, 9]);
        assert_eq!((denial.target.type_.as_str(), denial.target.categories.len()), ("store_t", 0));
        assert_eq!((denial.program.as_deref(), denial.object.as_deref()), (Some("sh"), Some("/tmp/a b.txt")));
        assert!(!denial.permissive);
    }

    #[test]
    fn the_highest_level_counts() {
        let host = Context::parse("system_u:system_r:init_t:s0-s0:c0.c1023").unwrap();
        assert_eq!((host.type_.as_str(), host.categories.len()), ("init_t", 1024));
    }

    #[test]
    fn what_is_no_denial_is_none() {
        for line in ["", "avc:  granted  { x }", "avc:  denied  { x } for tclass=file", "avc:  denied  { x"] {
            assert_eq!(Denial::parse(line), None, "{line}");
        }
    }
}

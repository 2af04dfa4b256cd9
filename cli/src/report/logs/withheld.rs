//! What a report does not say: secrets of settings, in the forms in which files and programs write them, and what looks like one
//! whoever made it.
//!
//! Bytes are looked at, not lines: a secret may be anywhere. Who cuts a text looks at more of it than it keeps ([`Withheld::longest`]),
//! so that no half of a secret is left at its edge.

use std::{collections::BTreeSet, ops::Range};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memmem;
use regex::bytes::Regex;
use rocketos_settings::SHOWN;

/// A secret shorter than this is taken out only where it stands alone: a letter is in every word.
const ALONE: usize = 4;
/// A line of data for a container that is shorter says nothing of it.
const LINE: usize = 8;
/// Bytes of what looks like a secret and is none of settings: more than that of a key's text.
const LOOKS_BYTES: usize = 32 << 10;
/// How a private key begins and ends (RFC 7468, and OpenSSH's and PGP's own).
const KEY_BEGINS: &str = r"(?-u)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----";
const KEY_ENDS: &str = r"(?-u)-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----";
/// What is taken out of a line is the group `it`.
const LOOKS: [&str; 5] = [
    // RFC 9110, 11.6.2 and 11.7.2: whatever the scheme.
    r#"(?i-u)\b(?:proxy-)?authorization\\?["']?[ \t]*[:=][ \t]*\\?["']?(?<it>[^\r\n"'\\]+)"#,
    // RFC 6750, RFC 7617.
    r"(?i-u)\b(?:bearer|basic)[ \t]+(?<it>[a-z0-9+/._~-]{16,}=*)",
    // Registries' credentials (containers-auth.json(5)), and what programs call their own.
    r#"(?i-u)\b(?:auth|identitytoken|registrytoken|access[_-]?token|refresh[_-]?token|client[_-]?secret|password|passwd|passphrase|secret|token|api[_-]?key)\\?["']?[ \t]*[:=][ \t]*(?:\\?"(?<it>(?:[^"\\\r\n]|\\[^"\r\n])+)|'(?<single>[^'\r\n]+)|(?<bare>[^\s"'\\,;&(){}\[\]]+))"#,
    // RFC 3986, 3.2.1.
    r#"(?-u)[a-zA-Z][a-zA-Z0-9+.-]*://(?<it>[^\s/@:"']*:[^\s/@"']+)@"#,
    // crypt(5).
    r"(?-u)(?<it>\$(?:y|gy|7|6|5|1|2[abxy])\$[./A-Za-z0-9$=,]{8,})",
];

/// What is taken out of texts.
pub struct Withheld {
    texts: Vec<Vec<u8>>,
    looks: Vec<Regex>,
    key_begins: Regex,
    key_ends: Regex,
}

/// A text without what is withheld.
pub struct Told {
    /// The text.
    pub bytes: Vec<u8>,
    /// How many places something was taken out of.
    pub withheld: usize,
}

impl Withheld {
    /// These texts, and what looks like a secret.
    ///
    /// # Errors
    /// Never: an expression that is none is a defect, and a test finds it.
    pub fn new(secrets: &BTreeSet<String>) -> Result<Self, regex::Error> {
        let mut texts: BTreeSet<Vec<u8>> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        texts.retain(|text| !text.is_empty());
        Ok(Self {
            texts: texts.into_iter().collect(),
            looks: LOOKS.into_iter().map(Regex::new).collect::<Result<_, _>>()?,
            key_begins: Regex::new(KEY_BEGINS)?,
            key_ends: Regex::new(KEY_ENDS)?,
        })
    }

    /// Bytes of the longest that may be taken out.
    pub fn longest(&self) -> usize {
        self.texts.iter().map(Vec::len).max().unwrap_or(0).max(LOOKS_BYTES)
    }

    /// A text, from `from` on, without what is withheld; what is before is looked at alone.
    pub fn told(&self, text: &[u8], from: usize) -> Told {
        let mut places = self.places(text);
        places.sort_unstable_by_key(|place| (place.start, place.end));
        let (mut bytes, mut at, mut withheld) = (Vec::with_capacity(text.len()), from.min(text.len()), 0);
        for Range { start, end } in places {
            if end <= at {
                continue;
            }
            // Where two meet, one mark stands for both.
            let meets = start <= at && withheld > 0;
            bytes.extend_from_slice(&text[at..start.max(at)]);
            if !meets {
                bytes.extend_from_slice(SHOWN.as_bytes());
                withheld += 1;
            }
            at = end;
        }
        bytes.extend_from_slice(&text[at..]);
        Told { bytes, withheld }
    }

    /// The same of words.
    pub fn told_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.told(text.as_bytes(), 0).bytes).into_owned()
    }

    fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        for secret in &self.texts {
            let found = memmem::find_iter(text, secret).map(|at| at..at + secret.len());
            places.extend(found.filter(|place| secret.len() >= ALONE || stands_alone(text, place)));
        }
        for looks in &self.looks {
            let found = looks.captures_iter(text);
            places.extend(found.filter_map(|found| {
                ["it", "single", "bare"].into_iter().find_map(|name| found.name(name)).map(|it| it.range())
            }));
        }
        places.extend(self.keys(text));
        places
    }

    /// Private keys; one whose end or beginning is missing reaches to that of the text.
    fn keys(&self, text: &[u8]) -> Vec<Range<usize>> {
        let (mut found, mut at) = (Vec::new(), 0);
        if let Some(end) = self.key_ends.find(text)
            && self.key_begins.find(text).is_none_or(|begin| begin.start() > end.start())
        {
            found.push(0..end.end());
            at = end.end();
        }
        while let Some(begin) = self.key_begins.find_at(text, at) {
            at = self.key_ends.find_at(text, begin.end()).map_or(text.len(), |end| end.end());
            found.push(begin.start()..at);
        }
        found
    }
}

/// True where neither a letter nor a digit is beside it.
fn stands_alone(text: &[u8], place: &Range<usize>) -> bool {
    let before = place.start.checked_sub(1).and_then(|at| text.get(at));
    [before, text.get(place.end)].into_iter().flatten().all(|byte| !byte.is_ascii_alphanumeric())
}

/// A secret as files and programs write it.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec(), STANDARD.encode(secret).into_bytes()];
    // In JSON, without the quotes around it.
    let quoted = serde_json::Value::from(secret).to_string();
    if let Some(inner) = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        forms.push(inner.as_bytes().to_vec());
    }
    forms.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>().into_bytes());
    // Data for a container are in base64, and are there decoded.
    if let Ok(data) = STANDARD.decode(secret)
        && secret.len() >= LINE
    {
        let lines = data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        forms.extend(lines.filter(|line| line.len() >= LINE).map(<[u8]>::to_vec));
        forms.push(data);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withheld(secrets: &[&str]) -> Withheld {
        Withheld::new(&secrets.iter().map(|secret| (*secret).to_owned()).collect()).unwrap()
    }

    fn told(secrets: &[&str], text: &str) -> String {
        withheld(secrets).told_text(text)
    }

    #[test]
    fn a_secret_of_settings_is_nowhere_and_in_no_form() {
        let secret = r#"hun"t er2/+"#;
        for (text, expected) in [
            (format!("pw {secret}!"), "pw (secret)!"),
            (format!("x{secret}{secret}y"), "x(secret)y"),
            (serde_json::json!({ "a": secret }).to_string(), "{\"a\":\"(secret)\"}"),
            (STANDARD.encode(secret), "(secret)"),
            ("a?p=hun%22t+er2%2F%2B&b".to_owned(), "a?p=(secret)&b"),
        ] {
            assert_eq!(told(&[secret], &text), expected, "{text}");
        }
        // Two that lie over each other leave nothing.
        assert_eq!(told(&["abcdef", "defghi"], "-abcdefghi-"), "-(secret)-");
        // Data for a container, as a program of it may say them.
        let data = STANDARD.encode(b"{\n  \"ssh-key\": \"AAAAC3\"\n}\n");
        assert_eq!(told(&[&data], &format!("{data} or \"ssh-key\": \"AAAAC3\".")), "(secret) or (secret).");
    }

    #[test]
    fn a_short_secret_is_taken_out_where_it_stands_alone() {
        assert_eq!(told(&["ab"], "ab cab 'ab' abc"), "(secret) cab '(secret)' abc");
    }

    #[test]
    fn what_looks_like_a_secret_is_one() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb\n-----END OPENSSH PRIVATE KEY-----";
        for (text, expected) in [
            (format!("a\n{key}\nb\n{key}"), "a\n(secret)\nb\n(secret)"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE".to_owned(), "(secret)"),
            ("MIIE\n-----END PRIVATE KEY-----\nb".to_owned(), "(secret)\nb"),
            (
                "GET /\r\nAuthorization: Digest username=\"x\"\r\nHost: a".to_owned(),
                "GET /\r\nAuthorization: (secret)\"x\"\r\nHost: a",
            ),
            ("Proxy-Authorization: Negotiate YII=".to_owned(), "Proxy-Authorization: (secret)"),
            (r#"{"headers":{"authorization":"token 12"}}"#.to_owned(), r#"{"headers":{"authorization":"(secret)"}}"#),
            ("curl: Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln".to_owned(), "curl: Bearer (secret)"),
            (r#"{"auths":{"r.example":{"auth":"dTpw"}}}"#.to_owned(), r#"{"auths":{"r.example":{"auth":"(secret)"}}}"#),
            (r#"{"identitytoken": "x y"}"#.to_owned(), r#"{"identitytoken": "(secret)"}"#),
            ("password = 'x y' # and".to_owned(), "password = '(secret)' # and"),
            ("db --password=x&y".to_owned(), "db --password=(secret)&y"),
            ("pulling https://me:pw@r.example/v2/".to_owned(), "pulling https://(secret)@r.example/v2/"),
            ("root:$y$j9T$abcdefgh$ijkl:1:".to_owned(), "root:(secret):1:"),
        ] {
            assert_eq!(told(&[], &text), expected, "{text}");
        }
        for text in
            ["https://r.example:5000/v2/", "a basic check", "-----BEGIN CERTIFICATE-----\nMII", "author: me", "$HOME"]
        {
            assert_eq!(told(&[], text), text);
        }
    }

    #[test]
    fn no_half_of_a_secret_is_left_at_an_edge() {
        let filter = withheld(&["hunter2-hunter2"]);
        let text = b"aaaa hunter2-hunter2 bbbb";
        for from in 0..=text.len() {
            let told = filter.told(text, from);
            let said = String::from_utf8(told.bytes).unwrap();
            assert!(!said.contains("nter") && !said.contains("er2"), "{from}: {said}");
            assert_eq!(told.withheld, usize::from(from < 20), "{from}: {said}");
        }
        assert!(filter.longest() >= text.len());
    }
}

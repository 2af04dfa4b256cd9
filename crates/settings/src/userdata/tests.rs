use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use super::*;

const TEXT: &str = "# A node.\n[settings]\nmotd = 'hello'\n\n[settings.kernel.sysctl]\n\"vm.max_map_count\" = \"262144\"\n\
                    [[settings.container-registry.mirrors]]\nregistry = \"docker.io\"\nendpoint = [\"https://a.example\"]\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn wrapped(bytes: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(bytes);
    text.as_bytes().chunks(76).flat_map(|line| [line, b"\n"].concat()).collect()
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

#[test]
fn reads_settings_and_their_lines() {
    let document = parse(TEXT.as_bytes()).unwrap();
    let expected = json!({
        "motd": "hello",
        "kernel": { "sysctl": { "vm.max_map_count": "262144" } },
        "container-registry": { "mirrors": [{ "registry": "docker.io", "endpoint": ["https://a.example"] }] },
    });
    assert_eq!(document.tree.to_value(), expected);
    let lines: Vec<_> = document.lines.iter().map(|(key, line)| (key.to_string(), *line)).collect();
    let expected = [("container-registry.mirrors", 7), ("kernel.sysctl.\"vm.max_map_count\"", 6), ("motd", 3)];
    assert_eq!(lines, expected.map(|(key, line)| (key.to_owned(), line)));
    assert_eq!(parse(b"").unwrap(), Document::default());
}

#[test]
fn reads_it_packed() {
    let plain = parse(TEXT.as_bytes()).unwrap();
    let text = TEXT.as_bytes();
    for packed in [gzip(text), wrapped(text), wrapped(&gzip(text)), gzip(&wrapped(text)), STANDARD.encode(text).into()]
    {
        assert_eq!(parse(&packed).as_ref(), Ok(&plain));
    }
    let deep = (0..=WRAPPINGS).fold(text.to_vec(), |inner, _| wrapped(&inner));
    assert_eq!(parse(&deep), Err(UserDataError::Wrapped));
}

#[test]
fn what_unpacks_to_too_much_is_stopped() {
    let bomb = gzip(&vec![b'#'; 64 << 20]);
    assert!(bomb.len() < DOCUMENT_BYTES);
    assert_eq!(parse(&bomb), Err(UserDataError::TooLong { most: UNPACKED_BYTES, unpacked: true }));
    let long = vec![b'#'; DOCUMENT_BYTES + 1];
    assert_eq!(parse(&long), Err(UserDataError::TooLong { most: DOCUMENT_BYTES, unpacked: false }));
    let mut broken = gzip(TEXT.as_bytes());
    broken.truncate(broken.len() - 12);
    assert_eq!(parse(&broken), Err(UserDataError::Gzip));
    assert_eq!(parse(&[0xff, 0xfe]), Err(UserDataError::NoText));
}

#[test]
fn says_which_line_is_wrong_and_repeats_no_value() {
    for (text, says) in [
        ("[settings]\nmotd = \n", "line 2, column 8: "),
        ("[settings]\nmotd = 'a'\nmotd = 'b'\n", "line 3"),
        ("[settings]\n[settings]\n", "line 2"),
        ("\n\nmotd = 'hunter2'\n", "line 3: 'motd' is neither 'settings' nor 'include'"),
        ("settings = 'hunter2'", "line 1: 'settings' is a table"),
        ("[settings]\na = 2026-11-23\n", "line 2: no setting is a date"),
        ("[settings]\na = [1,\n inf]\n", "line 3: no setting is infinite"),
        ("[settings]\na = 99999999999999999999\n", "line 2: a number has"),
        ("[settings]\n\"\" = 1\n", "line 2: a name in a key"),
        ("[settings]\n\"a\\nb\" = 1\n", "line 2: a name in a key"),
        ("[settings]\npassword = 'hunter2\n", "line 2"),
        ("[settings]\npassword = hunter2\n", "line 2"),
        ("#!/bin/sh\nhunter2\n", "begins with '#!/bin/sh'"),
        ("#cloud-config\n", "begins with '#cloud-config'"),
        ("include = 1", "line 1: 'include' is an array"),
        ("include = [{ url = 'https://a' }]", "an include has a url and its sha256"),
        ("include = [{ url = 'https://a', sha256 = 'ABC' }]", "64 lower-case"),
    ] {
        let error = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("hunter2") && !error.contains('\n'), "{text}: {error}");
    }
    let deep = format!("[settings]\na = {}1{}\n", "[".repeat(2000), "]".repeat(2000));
    assert!(parse(deep.as_bytes()).is_err());
    let deep = format!("[settings.{}]\nb = 1\n", vec!["a"; 2000].join("."));
    assert!(parse(deep.as_bytes()).is_err());
}

/// Documents by their URLs.
struct Web(BTreeMap<String, Vec<u8>>);

impl Fetch for Web {
    fn fetch(&mut self, url: &str, _: usize) -> Result<Vec<u8>, String> {
        self.0.get(url).cloned().ok_or_else(|| "404".to_owned())
    }
}

fn including(urls: &[(&str, &[u8])], settings: &str) -> String {
    let all: Vec<String> = urls
        .iter()
        .map(|(url, bytes)| format!("{{ url = 'https://{url}', sha256 = '{}' }}", hex::encode(Sha256::digest(bytes))))
        .collect();
    format!("include = [{}]\n[settings]\n{settings}\n", all.join(", "))
}

#[test]
fn what_is_included_lies_below_in_its_order() {
    let deepest = "[settings]\na = 0\nb = 0\nc = 0\nd = 0\n".as_bytes();
    let first = including(&[("deepest", deepest)], "a = 1\nb = 1\nc = 1");
    let second = "[settings]\na = 2\nb = 2\n".as_bytes();
    let top = including(&[("first", first.as_bytes()), ("second", second)], "a = 3");
    let pages = [("deepest", deepest), ("first", first.as_bytes()), ("second", second)];
    let mut web = Web(pages.map(|(url, bytes)| (format!("https://{url}"), bytes.to_vec())).into());
    let document = gather(top.as_bytes(), &mut web).unwrap();
    assert_eq!(document.tree.to_value(), json!({ "a": 3, "b": 2, "c": 1, "d": 0 }));
    assert_eq!((document.lines.get(&key("a")), document.lines.get(&key("b"))), (Some(&3), None));

    let error = |top: &str, web: &mut Web| gather(top.as_bytes(), web).unwrap_err().to_string();
    web.0.insert("https://second".to_owned(), b"[settings]\na = 'other'\n".to_vec());
    assert!(error(&top, &mut web).starts_with("https://second, included: its SHA-256 is "));
    web.0.insert("https://second".to_owned(), b"nothing = 1".to_vec());
    let broken = including(&[("second", b"nothing = 1")], "");
    assert!(error(&broken, &mut web).starts_with("https://second, included: line 1"));
    assert_eq!(error(&including(&[("gone", b"")], ""), &mut web), "https://gone, included: it cannot be fetched: 404");
}

#[test]
fn includes_are_few_and_not_deep() {
    let mut web = Web(BTreeMap::new());
    let mut page = "[settings]\na = 1\n".to_owned();
    for depth in 0..=INCLUDE_DEPTH {
        web.0.insert(format!("https://{depth}"), page.clone().into_bytes());
        page = including(&[(&depth.to_string(), page.as_bytes())], "");
    }
    let error = gather(page.as_bytes(), &mut web).unwrap_err().to_string();
    assert!(error.contains("more than 4 deep"), "{error}");
    let empty = "".as_bytes();
    web.0.insert("https://e".to_owned(), empty.to_vec());
    assert!(gather(including(&[("e", empty); INCLUDES], "").as_bytes(), &mut web).is_ok());
    let error = gather(including(&[("e", empty); INCLUDES + 1], "").as_bytes(), &mut web).unwrap_err();
    assert_eq!(error, UserDataError::Includes);
}

//! A report of a node that has a secret everywhere.

use std::{cell::RefCell, collections::BTreeMap, fs, io::Read as _, time::Duration};

use flate2::read::GzDecoder;
use serde_json::json;

use super::*;

const SECRET: &str = "hunter2-of-the-registry";
/// A secret in one field of the settings, and a password that nobody set.
const OTHER: &str = "Authorization: Basic bWU6cHc=";

struct Scene {
    root: tempfile::TempDir,
    asked: RefCell<Vec<String>>,
}

impl Scene {
    fn new(declared: &str) -> Self {
        let scene = Self { root: tempfile::tempdir().unwrap(), asked: RefCell::default() };
        scene.put("usr/lib/rocketos/report.d/own.toml", declared);
        scene.put("usr/bin/tool", "");
        scene
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The manifest, and every file of the archive.
    fn taken(&self) -> (Manifest, Vec<(String, String)>) {
        let packed = take(self).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(packed.as_slice()));
        let file = |entry: io::Result<tar::Entry<'_, GzDecoder<&[u8]>>>| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (path.strip_prefix("rocketos-report/").unwrap().to_owned(), text)
        };
        let files = archive.entries().unwrap().map(file).collect();
        (manifest(&packed).unwrap(), files)
    }
}

impl Sources for Scene {
    fn hidden(&self) -> anyhow::Result<BTreeSet<String>> {
        Ok(BTreeSet::from([SECRET.to_owned()]))
    }

    fn documents(&self) -> Vec<(&'static str, anyhow::Result<Option<Value>>)> {
        vec![
            ("status", Ok(Some(json!({ "image": format!("https://me:{SECRET}@r.example") })))),
            ("health", Ok(None)),
            ("settings", Err(anyhow::anyhow!("the disk says {SECRET}"))),
        ]
    }

    fn root(&self) -> &Path {
        self.root.path()
    }

    fn journal(&self, lines: &journalctl::Lines<'_>, out: &mut Kept) -> anyhow::Result<bool> {
        self.asked.borrow_mut().push(format!("{lines:?}"));
        out.add(format!("one\npulling with {SECRET}\ncurl: {OTHER}\nlast\n").as_bytes());
        Ok(lines.boot == 0)
    }

    fn command(&self, command: &Command, out: &mut Kept) -> anyhow::Result<i32> {
        assert_eq!(command.timeout, Duration::from_secs(3));
        out.add(format!("{SECRET}\n{}", "x".repeat(300)).as_bytes());
        Ok(3)
    }
}

const DECLARED: &str = "
[[file]]
paths = ['/etc/a', '/etc/none', '/etc']
bytes = 40
[[journal]]
name = 'all'
lines = 7
priority = 'warning'
[[journal]]
name = 'before'
boot = -1
[[command]]
name = 'tool'
command = ['/usr/bin/tool', 'list']
timeout = '3s'
bytes = 200
[[command]]
name = 'gone'
command = ['/usr/bin/gone']
";

#[test]
fn no_secret_is_in_a_file_a_line_of_the_journal_or_what_a_program_says() {
    let scene = Scene::new(DECLARED);
    // The end of it begins inside of the secret.
    scene.put("etc/a", &format!("{}{SECRET} {}", "a".repeat(100), "z".repeat(30)));
    scene.put("etc/rocketos/report.d/broken.toml", &format!("x = '{SECRET}"));
    let (manifest, files) = scene.taken();
    let all: BTreeMap<&str, &str> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    for (path, text) in &all {
        assert!(!text.contains("hunter2") && !text.contains("registry") && !text.contains("bWU6cHc"), "{path}: {text}");
    }
    assert_eq!(all["own/journal/all.log"], "one\npulling with (secret)\ncurl: Authorization: (secret)\nlast\n");
    assert_eq!(all["own/files/etc/a"], format!("(secret) {}", "z".repeat(30)));
    assert_eq!(all["own/commands/tool.txt"], "x".repeat(200));
    assert!(all["status.json"].contains("https://(secret)@r.example"), "{all:?}");
    let journal = manifest.entries.iter().find(|entry| entry.what == "journal all").unwrap();
    assert_eq!(journal.withheld, 2);
}

#[test]
fn the_manifest_says_of_everything_what_became_of_it_in_one_order() {
    let scene = Scene::new(DECLARED);
    scene.put("etc/a", "a");
    scene.put("etc/rocketos/report.d/broken.toml", "x");
    let (manifest, files) = scene.taken();
    let said: Vec<(&str, Option<&str>, Outcome)> =
        manifest.entries.iter().map(|entry| (entry.what.as_str(), entry.path.as_deref(), entry.outcome)).collect();
    use Outcome::{Absent, Failed, Taken, Truncated};
    assert_eq!(
        said,
        [
            ("status", Some("status.json"), Taken),
            ("health", None, Absent),
            ("settings", None, Failed),
            ("report.d/broken.toml", None, Failed),
            ("/etc/a", Some("own/files/etc/a"), Taken),
            ("/etc/none", None, Absent),
            ("/etc", None, Failed),
            ("journal all", Some("own/journal/all.log"), Taken),
            ("journal before", None, Absent),
            ("/usr/bin/tool list", Some("own/commands/tool.txt"), Truncated),
            ("/usr/bin/gone", None, Absent),
        ]
    );
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let expected: Vec<&str> = std::iter::once("manifest.json")
        .chain(manifest.entries.iter().filter_map(|entry| entry.path.as_deref()))
        .collect();
    assert_eq!(paths, expected);
    let tool = &manifest.entries[9];
    assert_eq!(tool.why.as_deref(), Some("the end of 324 bytes; it ended with 3"));
    assert!(scene.asked.borrow()[0].contains("priority: Some(\"warning\"), lines: 7"), "{:?}", scene.asked);
    assert_eq!(scene.taken().1[1..], files[1..], "the same node says the same");
}

#[test]
fn nothing_is_taken_where_nobody_knows_what_is_secret() {
    struct Blind(Scene);
    impl Sources for Blind {
        fn hidden(&self) -> anyhow::Result<BTreeSet<String>> {
            anyhow::bail!("the disk does not answer")
        }
        fn documents(&self) -> Vec<(&'static str, anyhow::Result<Option<Value>>)> {
            panic!("nothing is asked for")
        }
        fn root(&self) -> &Path {
            self.0.root()
        }
    }
    let error = take(&Blind(Scene::new(""))).unwrap_err();
    assert!(error.to_string().contains("which texts of settings are secret"), "{error:#}");
}

#[test]
fn a_report_has_its_limits() {
    let scene = Scene::new("[[file]]\npaths = ['/a', '/b', '/c', '/d', '/e', '/f']\nbytes = 8388608\n");
    for name in ["a", "b", "c", "d", "e", "f"] {
        scene.put(name, &"line of a file\n".repeat(600_000));
    }
    let (manifest, files) = scene.taken();
    let bytes: usize = files[1..].iter().map(|(_, text)| text.len()).sum();
    assert!(bytes as u64 <= limits::BYTES, "{bytes}");
    let last = manifest.entries.last().unwrap();
    assert_eq!((last.outcome, last.bytes), (Outcome::Failed, 0));
    assert!(last.why.as_ref().unwrap().contains("at most"), "{last:?}");
    assert_eq!(manifest.entries[3].outcome, Outcome::Truncated);
}

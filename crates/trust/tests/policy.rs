//! Policy files: what is understood, what is refused, and which file counts.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{fs, os::unix::fs::symlink, path::Path};

use rocketos_trust::{Outcome, Policy, PolicyError};
use support::{key_tables, signatures, text, verdict_on};

const MAIN: &str = "usr/lib/rocketos/trust/policy.toml";
const ETC: &str = "etc/rocketos/trust/policy.toml";

/// A root with these files.
fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn outcome(policy: &Policy, reference: &str) -> Outcome {
    verdict_on(policy, reference, "one", &signatures("cosign2/ecdsa")).outcome
}

fn entry(prefix: &str, rest: &str) -> String {
    format!("[repository.\"{prefix}\"]\n{rest}\n")
}

#[test]
fn reads_keys_beside_the_policy_and_by_absolute_path() {
    let key = text("keys/ecdsa.pub");
    for (name, place) in [
        ("release.pub", "usr/lib/rocketos/trust/release.pub"),
        ("keys/release.pub", "usr/lib/rocketos/trust/keys/release.pub"),
        ("/etc/pki/release.pub", "etc/pki/release.pub"),
    ] {
        let policy =
            format!("[key.release]\nfile = '{name}'\n{}", entry("a.b", "accept = 'signed'\nkeys = ['release']"));
        for file in [MAIN, "usr/lib/rocketos/trust/policy.d/10-a.toml"] {
            let root = root(&[(file, &policy), (place, &key)]);
            let policy = Policy::read(root.path()).unwrap();
            assert_eq!(outcome(&policy, "docker://a.b/c"), Outcome::Signed, "{name} {file}");
        }
    }
}

#[test]
fn the_longest_entry_counts() {
    let policy = [
        key_tables(&["ecdsa", "rsa"]),
        entry("a.b", "accept = 'signed'\nkeys = ['ecdsa']"),
        entry("a.b/lab", "accept = 'unsigned'"),
        entry("a.b/lab/old", "accept = 'nothing'"),
        entry("a.b/rsa", "accept = 'signed'\nkeys = ['rsa']"),
        "[layout.'/']\naccept = 'nothing'\n[layout.'/media/usb']\naccept = 'unsigned'\n".to_owned(),
        "[storage.'localhost/lab']\naccept = 'unsigned'\n".to_owned(),
    ]
    .concat();
    let policy = Policy::parse(Path::new("policy.toml"), &policy).unwrap();
    for (reference, expected) in [
        ("docker://a.b/c", Outcome::Signed),
        ("docker://a.b/labs", Outcome::Signed),
        ("docker://a.b/lab", Outcome::Unsigned),
        ("docker://a.b/lab/x:1", Outcome::Unsigned),
        ("docker://a.b/lab/old/x", Outcome::Refused),
        ("docker://a.b/lab/older", Outcome::Unsigned),
        ("docker://a.b/rsa/x", Outcome::Refused),
        ("docker://a.bc/c", Outcome::Refused),
        ("oci:/media/usb", Outcome::Unsigned),
        ("oci:/media/usb/image:tag", Outcome::Unsigned),
        ("oci-archive:/media/usb/image.tar", Outcome::Unsigned),
        ("oci:/media/usb2/image", Outcome::Refused),
        ("oci:/media/usb/../other", Outcome::Refused),
        ("oci:media/usb", Outcome::Refused),
        ("oci:/", Outcome::Refused),
        ("containers-storage:localhost/lab/x:1", Outcome::Unsigned),
        ("containers-storage:localhost/labs:1", Outcome::Refused),
        ("containers-storage:a.b/lab", Outcome::Refused),
        ("containers-storage:[overlay@/x]localhost/lab", Outcome::Refused),
    ] {
        assert_eq!(outcome(&policy, reference), expected, "{reference}");
    }
}

#[test]
fn the_default_speaks_of_what_no_other_entry_does() {
    let policy = "[default]\naccept = 'unsigned'\n[repository.'a.b']\naccept = 'nothing'\n";
    let policy = Policy::parse(Path::new("policy.toml"), policy).unwrap();
    for (reference, expected) in [
        ("docker://c.d:5000/e", Outcome::Unsigned),
        ("docker://a.b/c", Outcome::Refused),
        ("oci:/media/usb", Outcome::Unsigned),
        ("containers-storage:localhost/lab:1", Outcome::Unsigned),
        ("containers-storage:0123456789ab", Outcome::Unsigned),
        // What may lie elsewhere than it says lies nowhere.
        ("oci:media/usb", Outcome::Refused),
        ("oci:/media/../a", Outcome::Refused),
        ("containers-storage:[overlay@/x]localhost/lab", Outcome::Refused),
    ] {
        assert_eq!(outcome(&policy, reference), expected, "{reference}");
    }
    assert!(policy.accepts_unsigned_alone());
    let verdict = verdict_on(&policy, "oci:/media/usb", "one", &[]);
    assert_eq!(verdict.reason, "[default] of policy.toml asks for no signature");
    let error = Policy::parse(Path::new("policy.toml"), "[default]\naccpt = 'unsigned'\n").unwrap_err();
    assert!(chain(&error).contains("[default] has no field 'accpt'"), "{error}");
    let signed = [key_tables(&["ecdsa"]), "[default]\naccept = 'signed'\nkeys = ['ecdsa']\n".to_owned()].concat();
    let signed = Policy::parse(Path::new("policy.toml"), &signed).unwrap();
    assert_eq!(outcome(&signed, "docker://x.y/z"), Outcome::Signed);
    assert!(!signed.accepts_unsigned_alone() && signed.accepts_something());
}

#[test]
fn later_files_count_and_empty_ones_mask() {
    let (lib, etc) = ("usr/lib/rocketos/trust/policy.d", "etc/rocketos/trust/policy.d");
    let unsigned = |prefix: &str| entry(prefix, "accept = 'unsigned'");
    let nothing = |prefix: &str| entry(prefix, "accept = 'nothing'");
    let at = |folder: &str, name: &str| format!("{folder}/{name}");
    let read = |files: &[(&str, &str)]| Policy::read(root(files).path()).unwrap();
    // By name, whatever the folder; the same entry of a later file in place of the earlier.
    let policy = read(&[
        (MAIN, &nothing("a.b")),
        (&at(lib, "20.toml"), &unsigned("a.b")),
        (&at(etc, "10.toml"), &nothing("a.b")),
        (&at(etc, "30.toml.off"), &nothing("a.b")),
        (&at(etc, ".40.toml"), &nothing("a.b")),
    ]);
    assert_eq!(outcome(&policy, "docker://a.b/c"), Outcome::Unsigned);
    // The same name in /etc stands in place of the image's.
    for masking in ["", "# nothing here\n"] {
        let policy = read(&[(&at(lib, "20.toml"), &unsigned("a.b")), (&at(etc, "20.toml"), masking)]);
        assert_eq!(outcome(&policy, "docker://a.b/c"), Outcome::Refused);
    }
    let policy = read(&[(MAIN, &unsigned("a.b")), (ETC, &unsigned("c.d"))]);
    assert_eq!(outcome(&policy, "docker://a.b/c"), Outcome::Refused);
    assert_eq!(outcome(&policy, "docker://c.d/c"), Outcome::Unsigned);
    // A link to /dev/null, in a root that has no /dev.
    let masked = root(&[(MAIN, &unsigned("a.b")), (&at(lib, "20.toml"), &unsigned("c.d")), (&at(etc, "x"), "")]);
    symlink("/dev/null", masked.path().join(ETC)).unwrap();
    symlink("/dev/null", masked.path().join(at(etc, "20.toml"))).unwrap();
    let policy = Policy::read(masked.path()).unwrap();
    assert!(!policy.is_absent());
    for reference in ["docker://a.b/c", "docker://c.d/c"] {
        assert_eq!(outcome(&policy, reference), Outcome::Refused);
    }
}

#[test]
fn a_key_may_be_replaced_by_a_drop_in() {
    let files = |key: &str| format!("[key.release]\npem = '''\n{}'''\n", text(&format!("keys/{key}.pub")));
    let main = format!("{}{}", files("rsa"), entry("a.b", "accept = 'signed'\nkeys = ['release']"));
    let root = root(&[(MAIN, &main), ("etc/rocketos/trust/policy.d/key.toml", &files("ecdsa"))]);
    assert_eq!(outcome(&Policy::read(root.path()).unwrap(), "docker://a.b/c"), Outcome::Signed);
}

#[test]
fn masking_our_policy_does_not_bring_another_to_power() {
    let lax = "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}";
    let with = |files: &[(&str, &str)]| {
        let root = root(&[&[("etc/containers/policy.json", lax)], files].concat());
        outcome(&Policy::read(root.path()).unwrap(), "docker://a.b/c")
    };
    assert_eq!(with(&[]), Outcome::Unsigned);
    assert_eq!(with(&[(ETC, "")]), Outcome::Refused);
    assert_eq!(with(&[("usr/lib/rocketos/trust/policy.d/a.toml", "")]), Outcome::Refused);
}

#[test]
fn nothing_at_all_is_absent() {
    let empty = tempfile::tempdir().unwrap();
    assert!(Policy::read(empty.path()).unwrap().is_absent());
    let error = Policy::read(&empty.path().join("none")).unwrap_err();
    assert!(matches!(error, PolicyError::Read { .. }));
}

#[test]
fn refuses_by_name_what_it_does_not_understand() {
    let keys = key_tables(&["ecdsa", "rsa"]);
    let signed = |more: &str| format!("{keys}{}", entry("a.b", &format!("accept = 'signed'\n{more}")));
    for (text, expected) in [
        (
            "[repositories.'a.b']\n".to_owned(),
            "the top of the file has no field 'repositories': did you mean 'repository'?",
        ),
        ("version = 1\n".to_owned(), "the top of the file has no field 'version': known are 'repository', 'layout'"),
        (
            signed("treshold = 1"),
            "policy.toml: [repository.\"a.b\"] has no field 'treshold': did you mean 'threshold'?",
        ),
        (signed("key = ['ecdsa']"), "has no field 'key': did you mean 'keys'?"),
        (format!("{keys}[key.other]\npath = 'x'\n"), "[key.\"other\"] has no field 'path': known are 'file', 'pem'"),
        (signed("keys = ['ecsda']"), "no key is called 'ecsda': did you mean 'ecdsa'?"),
        (signed(""), "needs 'keys', the names of one or more [key] tables"),
        (signed("keys = []"), "needs 'keys'"),
        (signed("keys = ['ecdsa', 'rsa']"), "'threshold' is missing: how many of these keys"),
        (
            signed("keys = ['ecdsa']\nthreshold = 2"),
            "threshold is 2; it is at least 1 and at most 1, as many as there are keys",
        ),
        (signed("keys = ['ecdsa']\nthreshold = 0"), "threshold is 0"),
        (signed("keys = ['ecdsa']\nthreshold = -1"), "invalid value: integer `-1`"),
        (signed("keys = ['ecdsa', 'ecdsa']\nthreshold = 2"), "keys 'ecdsa' and 'ecdsa' are one key, which counts once"),
        (signed("keys = 'ecdsa'"), "invalid type: string"),
        (signed("keys = ['ecdsa']\nidentity = 'a/b'"), "identity 'a/b' is neither \"repository\" nor a registry"),
        (entry("a.b", ""), "missing field `accept`"),
        (
            entry("a.b", "accept = 'insecure'"),
            "unknown variant `insecure`, expected one of `signed`, `unsigned`, `nothing`",
        ),
        (entry("a.b", "accept = 'unsigned'\nthreshold = 1"), "go with accept = \"signed\" only"),
        (entry("a.b/", "accept = 'unsigned'"), "a registry or a repository is expected"),
        (entry("docker://a.b", "accept = 'unsigned'"), "a registry or a repository is expected"),
        (entry("a.b/c:1", "accept = 'unsigned'"), "a registry or a repository is expected"),
        (entry("", "accept = 'unsigned'"), "a registry or a repository is expected"),
        ("[repository.registry.example]\naccept = 'unsigned'\n".to_owned(), "is expected in quotes"),
        (format!("x = {}", "[".repeat(500_000)), "reading policy.toml"),
        (entry("*", "accept = 'unsigned'"), "a registry or a repository is expected"),
        ("[layout.'media']\naccept = 'unsigned'\n".to_owned(), "[layout.\"media\"]: an absolute path is expected"),
        ("[layout.'/media/']\naccept = 'unsigned'\n".to_owned(), "an absolute path is expected"),
        ("[layout.'/a/../b']\naccept = 'unsigned'\n".to_owned(), "an absolute path is expected"),
        (
            format!("{keys}[layout.'/a']\naccept = 'signed'\nkeys = ['rsa']\nidentity = 'repository'\n"),
            "a layout has no repository",
        ),
        ("[key.a]\npem = 'x'\nfile = 'y'\n".to_owned(), "exactly one of 'file' and 'pem'"),
        ("[key.a]\nfile = '../x'\n".to_owned(), "a key's file lies beside or below its policy"),
        ("[key.a]\npem = 'x'\n".to_owned(), "[key.\"a\"]: key a is not a public key in PEM"),
        ("[key.a]\nfile = 'x'\n".to_owned(), "has its keys in it: use 'pem' instead of 'file'"),
        ("repository = 1\n".to_owned(), "[repository]: a table is expected, found integer"),
        ("[repository]\n'a.b' = 'unsigned'\n".to_owned(), "[repository.\"a.b\"]: a table is expected"),
        ("[repository.'a.b']\n[repository.'a.b']\n".to_owned(), "reading policy.toml"),
    ] {
        let error = chain(&Policy::parse(Path::new("policy.toml"), &text).unwrap_err());
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn two_names_of_one_key_do_not_make_two() {
    let twin = format!("[key.twin]\npem = '''\n{}'''\n", text("keys/ecdsa.pub"));
    let policy = entry("a.b", "accept = 'signed'\nkeys = ['ecdsa', 'twin']\nthreshold = 2");
    let text = format!("{}{twin}{policy}", key_tables(&["ecdsa"]));
    let error = Policy::parse(Path::new("policy.toml"), &text).unwrap_err().to_string();
    assert!(error.contains("keys 'ecdsa' and 'twin' are one key, which counts once"), "{error}");
}

#[test]
fn refuses_files_that_are_none() {
    let key = "[key.release]\nfile = 'release.pub'\n";
    let missing = root(&[(MAIN, key)]);
    let error = chain(&Policy::read(missing.path()).unwrap_err());
    assert!(error.contains("usr/lib/rocketos/trust/release.pub") && error.contains("entity not found"), "{error}");
    let dangling = root(&[("usr/lib/rocketos/trust/x", "")]);
    symlink("/nowhere", dangling.path().join(MAIN)).unwrap();
    let error = chain(&Policy::read(dangling.path()).unwrap_err());
    assert!(error.contains("policy.toml") && error.contains("a link to nothing"), "{error}");
    let folder = root(&[("etc/rocketos/trust/policy.toml/x", "")]);
    let error = chain(&Policy::read(folder.path()).unwrap_err());
    assert!(error.contains("it is not a file"), "{error}");
    let large = root(&[(MAIN, &" ".repeat((1 << 20) + 1))]);
    let error = chain(&Policy::read(large.path()).unwrap_err());
    assert!(error.contains("has 1048577 bytes, more than 1048576"), "{error}");
    // A link leads where it would lead on the node, not to this machine's file.
    let outside = root(&[(MAIN, "[key.release]\nfile = '/link'\n")]);
    symlink("/etc/passwd", outside.path().join("link")).unwrap();
    let error = chain(&Policy::read(outside.path()).unwrap_err());
    assert!(error.contains("link") && error.contains("entity not found"), "{error}");
    let many: Vec<String> = (0..=256).map(|n| format!("etc/rocketos/trust/policy.d/{n}.toml")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "")).collect();
    let error = chain(&Policy::read(root(&many).path()).unwrap_err());
    assert!(error.contains("has 257 drop-ins, more than 256"), "{error}");
}

#[test]
fn reads_one_file_that_somebody_points_at() {
    let policy =
        format!("[key.release]\nfile = 'release.pub'\n{}", entry("a.b", "accept = 'signed'\nkeys = ['release']"));
    let root = root(&[("here/trust.toml", &policy), ("here/release.pub", &text("keys/ecdsa.pub"))]);
    let policy = Policy::read_file(&root.path().join("here/trust.toml")).unwrap();
    assert_eq!(outcome(&policy, "docker://a.b/c"), Outcome::Signed);
    let error = chain(&Policy::read_file(&root.path().join("here/none.toml")).unwrap_err());
    assert!(error.contains("here/none.toml: entity not found"), "{error}");
}

#[test]
fn prints_itself() {
    let policy = [
        key_tables(&["ecdsa", "rsa"]),
        entry("a.b", "accept = 'signed'\nkeys = ['ecdsa', 'rsa']\nthreshold = 2\nidentity = 'repository'"),
        entry("a.b/lab", "accept = 'unsigned'"),
        "[layout.'/']\naccept = 'nothing'\n".to_owned(),
    ]
    .concat();
    let policy = Policy::parse(Path::new("policy.toml"), &policy).unwrap();
    assert_eq!(
        policy.to_string(),
        "[repository.\"a.b\"]: signed by 2 of ecdsa, rsa, for the repository it is pulled from (policy.toml)\n\
         [repository.\"a.b/lab\"]: unsigned (policy.toml)\n\
         [layout.\"/\"]: nothing (policy.toml)\n"
    );
    assert_eq!(Policy::default().to_string(), "no policy: nothing is accepted\n");
}

#[test]
fn a_channels_policy_stands_in_place_of_the_images() {
    let etc = "etc/rocketos/trust/policy.d/50-local.toml";
    let unsigned = |prefix: &str| entry(prefix, "accept = 'unsigned'");
    let newest = format!("{}{}", key_tables(&["ecdsa"]), entry("a.b", "accept = 'signed'\nkeys = ['ecdsa']"));
    let path = Path::new("policy.toml of the channel");
    let read = |files: &[(&str, &str)], text: &str| Policy::read_outranked(root(files).path(), Some((path, text)));
    let outcomes = |policy: Policy| ["a.b", "c.d", "e.f"].map(|place| outcome(&policy, &format!("docker://{place}/x")));
    let (signed, refused, lax) = (Outcome::Signed, Outcome::Refused, Outcome::Unsigned);
    let image = [(MAIN, &*unsigned("a.b")), ("usr/lib/rocketos/trust/policy.d/a.toml", &*unsigned("c.d"))];
    assert_eq!(outcomes(Policy::read(root(&image).path()).unwrap()), [lax, lax, refused]);
    assert_eq!(outcomes(read(&image, &newest).unwrap()), [signed, refused, refused]);
    assert_eq!(outcomes(read(&[], &newest).unwrap()), [signed, refused, refused], "also where the image has none");
    // What is said on the node itself still counts.
    let local = [image[0], image[1], (etc, &*unsigned("e.f"))];
    assert_eq!(outcomes(read(&local, &newest).unwrap()), [signed, refused, lax]);
    let whole = [image[0], (ETC, &*unsigned("e.f"))];
    assert_eq!(outcomes(read(&whole, &newest).unwrap()), [refused, refused, lax]);
    // It brings its keys, and a fault in it is never a reason to take the image's.
    for (text, says) in [("[key.k]\nfile = 'k.pub'\n", "'pem' instead of 'file'"), ("[", "policy.toml of the channel")]
    {
        let error = read(&local, text).unwrap_err();
        assert!(chain(&error).contains(says), "{}", chain(&error));
    }
}

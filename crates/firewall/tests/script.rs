//! What files declare, and the script that they come to.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, os::unix::fs::symlink, path::Path};

use rocketos_firewall::load;

const SCRIPT: &str = include_str!("data/script.nft");
/// The same where nothing is declared.
const CLOSED: &str = include_str!("data/closed.nft");

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn opening(port: &str, more: &str) -> String {
    format!("[[open]]\nprotocol = \"tcp\"\nport = {port}\nreason = \"a test\"\n{more}")
}

/// What an image and its administrator declare.
fn declared(root: &Path) {
    let (lib, etc) = ("usr/lib/rocketos/firewall.d", "etc/rocketos/firewall.d");
    put(root, &format!("{lib}/10-web.toml"), &(opening("80", "") + &opening("443", "")));
    put(root, &format!("{lib}/20-masked.toml"), &opening("2000", ""));
    put(root, &format!("{lib}/30-replaced.toml"), &opening("3000", ""));
    put(root, &format!("{lib}/40-linked.toml"), &opening("4000", ""));
    put(root, &format!("{etc}/20-masked.toml"), "");
    put(root, &format!("{etc}/30-replaced.toml"), &opening("3001", "from = ['10.0.0.0/8', 'fd00::/8']\n"));
    symlink("/dev/null", root.join(etc).join("40-linked.toml")).unwrap();
    let udp = "[[open]]\nprotocol = 'udp'\nport = '8000-8010'\ninterface = 'wg*'\nreason = 'nodes'\n";
    put(root, &format!("{etc}/50-nodes.toml"), udp);
}

#[test]
fn renders_what_is_declared() {
    let root = tempfile::tempdir().unwrap();
    declared(root.path());
    let found = load(root.path()).unwrap();
    assert!(found.broken.is_empty(), "{:?}", found.broken);
    assert_eq!(found.script(), SCRIPT);
    let by: Vec<_> = found.open.iter().map(|open| open.declared_by.as_str()).collect();
    assert_eq!(by[2..], ["/etc/rocketos/firewall.d/30-replaced.toml", "/etc/rocketos/firewall.d/50-nodes.toml"]);
}

#[test]
fn is_closed_where_nobody_declares_anything() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(load(root.path()).unwrap().script(), CLOSED);
}

#[test]
fn nothing_of_a_broken_file_is_open() {
    let root = tempfile::tempdir().unwrap();
    let folder = "etc/rocketos/firewall.d";
    // The first opening of each is sound.
    put(root.path(), &format!("{folder}/a.toml"), &(opening("1", "") + &opening("'x'", "")));
    put(root.path(), &format!("{folder}/b.toml"), &opening("2", "form = ['10.0.0.0/8']\n"));
    fs::create_dir(root.path().join(folder).join("c.toml")).unwrap();
    symlink("/nowhere", root.path().join(folder).join("d.toml")).unwrap();
    put(root.path(), &format!("{folder}/e.toml"), &opening("5", ""));
    let found = load(root.path()).unwrap();
    let open: Vec<_> = found.open.iter().map(|open| open.opening.port.to_string()).collect();
    assert_eq!(open, ["5"]);
    let broken: Vec<_> = found.broken.iter().map(|broken| broken.declared_by.rsplit('/').next().unwrap()).collect();
    assert_eq!(broken, ["a.toml", "b.toml", "c.toml", "d.toml"]);
    assert!(found.broken[1].problem.contains("form"), "{:?}", found.broken[1]);
}

#[test]
fn files_beyond_the_limit_are_said_and_left_out() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..=rocketos_firewall::limits::FILES {
        put(root.path(), &format!("etc/rocketos/firewall.d/{number:03}.toml"), &opening("1", ""));
    }
    let found = load(root.path()).unwrap();
    assert_eq!((found.open.len(), found.broken.len()), (128, 1));
    assert!(found.broken[0].problem.contains("more than 128 files"), "{:?}", found.broken);
}

#[test]
fn a_files_name_means_nothing_to_nft() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "etc/rocketos/firewall.d/a\"\naccept\n#.toml", &opening("1", ""));
    let script = load(root.path()).unwrap().script();
    assert!(script.contains("comment \"a??accept??.toml\""), "{script}");
    assert!(!script.lines().any(|line| line.trim() == "accept"), "{script}");
}

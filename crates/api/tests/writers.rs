//! Many who change settings at once: no change is lost, and every generation is whole.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::thread;

use serde_json::{Value, json};
use support::{Lets, QUICK, Served};

/// Who changes settings at once.
const WRITERS: usize = 16;
/// Changes of each.
const CHANGES: usize = 50;

/// Each writer has a key of its own, and one that all count up.
#[test]
fn no_change_is_lost_with_if_match_and_without() {
    let node = Served::start(Lets::all(), QUICK);
    node.ask("PATCH", "/v1/settings", Some(json!({ "kernel": { "sysctl": { "vm.swappiness": "0" } } })));
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let node = &node;
            scope.spawn(move || {
                for change in 1..=CHANGES {
                    match writer % 2 {
                        0 => blindly(node, writer, change),
                        _ => counting_up(node, writer, change),
                    }
                }
            });
        }
    });
    let current = node.store().current().unwrap();
    assert!(current.damaged.is_empty());
    // Each change is a generation, and there are no others.
    assert_eq!(current.generation.number as usize, 1 + WRITERS * CHANGES);
    let now = node.ask("GET", "/v1/settings", None).json();
    let sysctl = &now["settings"]["kernel"]["sysctl"];
    assert_eq!(sysctl["vm.swappiness"], (WRITERS / 2 * CHANGES).to_string());
    for writer in 0..WRITERS {
        assert_eq!(sysctl[name(writer)], CHANGES.to_string(), "writer {writer}");
    }
    let history = node.store().history().unwrap();
    assert_eq!(history.len(), rocketos_settings::store::KEPT);
    for (newer, older) in history.iter().zip(&history[1..]) {
        assert_eq!(newer.number, older.number + 1);
    }
}

fn name(writer: usize) -> String {
    format!("net.test.writer{writer}")
}

fn own(writer: usize, change: usize) -> Value {
    json!({ name(writer): change.to_string() })
}

fn blindly(node: &Served, writer: usize, change: usize) {
    let body = json!({ "kernel": { "sysctl": own(writer, change) } });
    let answer = node.ask("PATCH", "/v1/settings", Some(body));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Reads, adds one, and writes to what was read; again, where somebody was faster.
fn counting_up(node: &Served, writer: usize, change: usize) {
    loop {
        let read = node.ask("GET", "/v1/settings", None);
        let count: usize =
            read.json()["settings"]["kernel"]["sysctl"]["vm.swappiness"].as_str().unwrap().parse().unwrap();
        let mut sysctl = own(writer, change);
        sysctl["vm.swappiness"] = Value::from((count + 1).to_string());
        let tag = read.header("etag").unwrap().to_owned();
        let answer =
            node.with("PATCH", "/v1/settings", &[("If-Match", &tag)], Some(json!({ "kernel": { "sysctl": sysctl } })));
        match answer.status {
            200 => return,
            412 => {}
            _ => panic!("{answer:?}"),
        }
    }
}

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use super::*;
use crate::{Layers, SetBy, store::Store, userdata};

const BOTH: &str = "[settings.bootstrap-containers.disk]\nsource = 'registry.example/disk:1'\nmode = 'once'\n\
                    essential = true\nuser-data = 'aHVudGVyMg=='\ncommand = ['format']\nenv = { A = '1' }\n\
                    [settings.bootstrap-containers.aa]\nsource = 'registry.example/aa:1'\nmode = 'always'\n\
                    [settings.bootstrap-containers.zz]\nsource = 'registry.example/zz:1'\n\
                    [settings.bootstrap-commands.two]\ncommands = [['apiclient', 'set', 'motd=b']]\nmode = 'once'\n\
                    [settings.bootstrap-commands.one]\ncommands = [['apiclient', 'set', 'motd=a']]\nmode = 'always'\n\
                    [settings.bootstrap-commands.off]\ncommands = [['apiclient', 'set', 'motd=c']]\nmode = 'off'\n";

fn settings(text: &str) -> Settings {
    layers(text).resolve().unwrap_or_else(|problems| panic!("{problems}")).settings
}

fn layers(text: &str) -> Layers {
    let mut layers = Layers::default();
    let set_by = SetBy::Operator { by: "uid 0".to_owned(), at: "2026-11-23T01:02:03Z".parse().unwrap() };
    layers.add(&userdata::parse(text.as_bytes()).unwrap().tree, |_| set_by.clone());
    layers
}

fn names(tasks: &[Task]) -> Vec<(Kind, &str, bool, bool)> {
    tasks.iter().map(|task| (task.kind, task.name.as_str(), task.always, task.essential)).collect()
}

fn now() -> chrono::DateTime<chrono::Utc> {
    "2026-11-23T01:02:03Z".parse().unwrap()
}

#[test]
fn what_is_asked_for_is_done_in_order_commands_first_and_what_is_off_is_not() {
    let all = due(&settings(BOTH), &Memory::default());
    let expected = [
        (Kind::Commands, "one", true, false),
        (Kind::Commands, "two", false, false),
        (Kind::Container, "aa", true, false),
        (Kind::Container, "disk", false, true),
    ];
    assert_eq!(names(&all), expected);
    assert!(due(&settings(""), &Memory::default()).is_empty());
}

#[test]
fn what_is_no_call_is_no_setting() {
    for (calls, says) in [
        (
            "[['rm', '-rf', '/']]",
            "bootstrap-commands.a.commands, set by uid 0 at 2026-11-23T01:02:03Z: command 1 is no call",
        ),
        ("[['apiclient', 'apply'], ['apiclient', 'reboot']]", "command 2 would reboot the node while it boots"),
        ("[[]]", "command 1 is no call"),
    ] {
        let error = layers(&format!("[settings.bootstrap-commands.a]\ncommands = {calls}\n")).resolve().unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn what_succeeded_as_it_is_is_done_once_and_what_is_always_each_time() {
    let settings = settings(BOTH);
    let mut memory = Memory::default();
    for task in due(&settings, &memory.clone()) {
        memory.mark(&task, now());
        assert_eq!(memory.when(&task), Some(now()));
    }
    let expected = [(Kind::Commands, "one", true, false), (Kind::Container, "aa", true, false)];
    assert_eq!(names(&due(&settings, &memory)), expected);
    // One of the same name is not of the same kind.
    let other = Task { kind: Kind::Commands, ..containers(&settings)[1].clone() };
    assert!(!memory.has(&other));
}

#[test]
fn what_is_another_by_now_is_done_again_and_what_only_surrounds_it_makes_it_no_other() {
    let disk = |text: &str| containers(&settings(text)).into_iter().find(|task| task.name == "disk").unwrap();
    let mut memory = Memory::default();
    memory.mark(&disk(BOTH), now());
    for (from, to) in [
        ("disk:1", "disk:2"),
        ("['format']", "['format', '-f']"),
        ("A = '1'", "A = '2'"),
        ("A = '1'", "B = '1'"),
        ("aHVudGVyMg==", "aHVudGVyMw=="),
        ("user-data = 'aHVudGVyMg=='\n", ""),
    ] {
        assert!(disk(&BOTH.replace(from, to)).is_due(&memory), "{to}");
    }
    for (from, to) in [("essential = true", "essential = false"), ("'format']", "'format']\nmemory = '64M'")] {
        assert!(!disk(&BOTH.replace(from, to)).is_due(&memory), "{to}");
    }
    // What is as it was before is another than the one that succeeded last.
    memory.mark(&disk(&BOTH.replace("disk:1", "disk:2")), now());
    assert!(disk(BOTH).is_due(&memory));
    let two = |text: &str| commands(&settings(text)).into_iter().find(|(task, _)| task.name == "two").unwrap().0;
    memory.mark(&two(BOTH), now());
    assert!(!two(BOTH).is_due(&memory) && two(&BOTH.replace("motd=b", "motd=d")).is_due(&memory));
}

#[test]
fn memory_is_a_private_file_beside_the_generations_and_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("settings");
    assert_eq!(Memory::read(&at).unwrap(), Memory::default());
    let mut memory = Memory::default();
    for task in due(&settings(BOTH), &Memory::default()) {
        memory.mark(&task, now());
    }
    assert_eq!(memory.revision, 4);
    memory.write(&at).unwrap();
    memory.write(&at).unwrap();
    assert_eq!(Memory::read(&at).unwrap(), memory);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&at), mode(&at.join(FILE))), (0o700, 0o600));
    assert!(!fs::read_to_string(at.join(FILE)).unwrap().contains("hunter2"));
    // Neither a generation nor a damaged one; and no commit takes it away.
    let store = Store::open(&at).unwrap();
    let current = store.current().unwrap();
    assert_eq!((current.generation.number, current.damaged.len()), (0, 0));
    store.commit(0, current.generation.content, "uid 0", "", now()).unwrap();
    assert_eq!(Memory::read(&at).unwrap(), memory);
    memory.retain(|kind, name| kind == Kind::Container && name == "disk");
    let left: Value = serde_json::to_value(&memory).unwrap();
    assert_eq!((left["commands"].as_object().unwrap().len(), left["containers"].as_object().unwrap().len()), (0, 1));
}

#[test]
fn damaged_memory_is_told_and_what_a_cut_left_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bootstrap.fresh"), "{").unwrap();
    assert_eq!(Memory::read(folder.path()).unwrap(), Memory::default());
    let mut memory = Memory::default();
    memory.revision = 7;
    memory.write(folder.path()).unwrap();
    assert_eq!(Memory::read(folder.path()).unwrap().revision, 7);
    for text in ["", "{", "[]", &" ".repeat(usize::try_from(MEMORY_BYTES).unwrap() + 1)] {
        fs::write(folder.path().join(FILE), text).unwrap();
        let error = Memory::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("bootstrap.json is damaged"), "{error}");
    }
}

//! Facts: beneath the settings of a node, and nowhere else.

use rocketos_settings::SetBy;

use super::*;

fn machine(node: &Node, name: &str) {
    for (path, text) in [
        ("proc/sys/kernel/hostname", format!("{name}\n")),
        ("proc/net/fib_trie", "  |-- 192.0.2.7\n     /32 host LOCAL\n".to_owned()),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n".to_owned()),
        ("sys/class/dmi/id/sys_vendor", "QEMU\n".to_owned()),
    ] {
        fs::create_dir_all(node.path(path).parent().unwrap()).unwrap();
        fs::write(node.path(path), text).unwrap();
    }
}

fn facts(node: &Node) -> Vec<(String, Value)> {
    let shown = node.engine().standing().unwrap().settings.into_iter();
    let facts = shown.filter(|shown| matches!(shown.set_by, SetBy::Fact { .. }));
    facts.map(|shown| (shown.key.to_string(), shown.value)).collect()
}

#[test]
fn facts_are_as_they_are_now_and_neither_stored_nor_in_a_file() {
    let node = Node::new();
    machine(&node, "of-dhcp");
    let all = facts(&node);
    let keys: Vec<&str> = all.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["facts.addresses", "facts.hostname", "facts.instance", "facts.vendor"]);
    assert_eq!((&all[0].1, &all[1].1), (&json!(["192.0.2.7"]), &json!("of-dhcp")));
    let before = node.files();
    let receipt = node.engine().change(&set(json!({"motd": "a"}))).unwrap();
    assert_eq!((receipt.files.len(), node.files().len(), node.told()), (1, before.len() + 1, vec![]));
    let folder = node.path("sysroot").join(layout::deployment_settings(&id("aa")));
    let stored = fs::read_to_string(folder.join("0000000001.json")).unwrap();
    assert!(stored.contains("motd") && !stored.contains("dhcp") && !stored.contains("facts"), "{stored}");
    machine(&node, "other");
    assert_eq!(facts(&node)[1].1, json!("other"));
    let error = node.engine().change(&set(json!({"facts": {"hostname": "mine"}}))).unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("facts.hostname, set by uid 0"), "{error}");
    assert_eq!(node.engine().standing().unwrap().generation, 1);
    // What makes no sense is not known, and stands in nobody's way.
    fs::write(node.path("proc/sys/kernel/hostname"), "a b\n").unwrap();
    fs::write(node.path("etc/machine-id"), "uninitialized\n").unwrap();
    assert_eq!(facts(&node).len(), 2);
    node.engine().change(&set(json!({"motd": "b"}))).unwrap();
}

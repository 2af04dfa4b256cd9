//! A process that ends in the middle, and whoever comes after.

use super::*;

/// Has the process end after so many orders; true where it did.
fn breaks_off(node: &Node, orders: usize, change: &Change) -> bool {
    node.ends_after(Some(orders));
    let ended = catch_unwind(AssertUnwindSafe(|| node.engine().change(change))).is_err();
    node.ends_after(None);
    ended
}

#[test]
fn who_comes_after_sees_to_what_was_left() {
    let first = json!({"motd": "a", "network": {"hostname": "one"}, "containers": {"web": {"source": "registry.example/web:1"}}});
    let second = Change {
        unset: vec![key("containers.web"), key("motd")],
        ..set(json!({"network": {"hostname": "two"}, "containers": {"db": {"source": "registry.example/db:1"}}}))
    };
    let mut points = 0;
    for orders in 0.. {
        let node = Node::new();
        fs::write(node.path("etc/motd"), "The image's.\n").unwrap();
        node.engine().change(&set(first.clone())).unwrap();
        let before = node.files();
        node.told();
        if !breaks_off(&node, orders, &second) {
            break;
        }
        points += 1;
        let done = node.told();
        // What is stored is as before, and so is everything after the next apply.
        node.engine().apply("uid 0", false).unwrap();
        assert_eq!((node.files(), node.engine().standing().unwrap().generation), (before, 1), "after {orders} orders");
        let told = node.told();
        for order in done.iter().filter(|order| *order == "set-hostname" || *order == "reload-manager") {
            assert!(told.contains(order), "{order} of {done:?} was not told again: {told:?}");
        }
        if done.contains(&format!("stop {WEB}")) {
            assert!(told.contains(&format!("restart {WEB}")), "{told:?}");
        }
        if done.contains(&"restart settings-db.service".to_owned()) {
            assert!(told.contains(&"stop settings-db.service".to_owned()), "{told:?}");
        }
        node.engine().apply("uid 0", false).unwrap();
        assert_eq!(node.told(), [""; 0]);
        // The change is made again, to its end.
        node.engine().change(&second).unwrap();
        assert_eq!(
            (node.said("etc/motd").unwrap(), node.said("etc/hostname").unwrap()),
            ("The image's.\n".into(), "two\n".into())
        );
    }
    // stop web, set-hostname, reload-manager, restart db
    assert_eq!(points, 4);
}

#[test]
fn a_change_over_what_was_left_is_as_any_other() {
    let node = Node::new();
    node.engine().change(&set(json!({"network": {"hostname": "one"}}))).unwrap();
    assert!(breaks_off(&node, 0, &set(json!({"network": {"hostname": "two"}, "motd": "two"}))));
    assert_eq!(node.said("etc/motd").unwrap(), "two\n");
    node.told();
    node.engine().change(&set(json!({"ntp": {"time-servers": ["a.example"]}}))).unwrap();
    assert_eq!((node.said("etc/motd"), node.said("etc/hostname").unwrap()), (None, "one\n".into()));
    assert_eq!(node.told(), ["set-hostname", "restart systemd-timesyncd.service"]);
}

/// Some change of some settings, sound alone and together.
fn random(random: &mut fastrand::Rng) -> Change {
    let choices = [
        json!({"motd": format!("{}", random.u8(..4))}),
        json!({"network": {"hostname": format!("node-{}", random.u8(..4))}}),
        json!({"ntp": {"time-servers": [format!("{}.example", random.u8(..4))]}}),
        json!({"dns": {"name-servers": [format!("192.0.2.{}", random.u8(1..4))]}}),
        json!({"kernel": {"sysctl": {"vm.max_map_count": format!("{}", random.u32(65530..65534))}}}),
        web(&format!("web:{}", random.u8(..3))),
        json!({"containers": {"db": {"source": format!("registry.example/db:{}", random.u8(..3))}}}),
    ];
    let keys = ["motd", "network", "ntp", "dns", "kernel", "containers.web", "containers.db"];
    let unset = keys.iter().filter(|_| random.u8(..6) == 0).map(|text| key(text)).collect();
    Change { unset, ..set(choices[random.usize(..choices.len())].clone()) }
}

#[test]
fn whatever_fails_and_breaks_off_the_next_apply_has_what_is_stored() {
    let orders = [
        "set-hostname",
        "reload-manager",
        "restart systemd-timesyncd.service",
        "restart systemd-resolved.service",
        "restart systemd-sysctl.service",
        "restart settings-web.service",
        "stop settings-web.service",
        "restart settings-db.service",
    ];
    let mut random = fastrand::Rng::with_seed(6);
    let (mut failed, mut ended) = (0, 0);
    for _ in 0..8 {
        let node = Node::new();
        fs::write(node.path("etc/motd"), "The image's.\n").unwrap();
        for _ in 0..14 {
            let before = node.engine().standing().unwrap().generation;
            let change = self::random(&mut random);
            match random.u8(..4) {
                0 => node.failing(&orders.into_iter().filter(|_| random.bool()).collect::<Vec<_>>()),
                1 => node.ends_after(Some(random.usize(..3))),
                _ => {}
            }
            match catch_unwind(AssertUnwindSafe(|| node.engine().change(&change))) {
                Err(_) => ended += 1,
                Ok(Err(error)) => {
                    failed += 1;
                    assert_eq!(node.engine().standing().unwrap().generation, before, "{error}");
                }
                Ok(Ok(_)) => {}
            }
            node.failing(&[]);
            node.ends_after(None);
            node.engine().apply("uid 0", false).unwrap();
            node.told();
            let other = Node::new();
            fs::write(other.path("etc/motd"), "The image's.\n").unwrap();
            copy(&node, &other);
            other.engine().apply("uid 0", false).unwrap();
            assert_eq!(node.files(), other.files());
            node.engine().apply("uid 0", false).unwrap();
            assert_eq!(node.told(), [""; 0]);
        }
    }
    assert!(failed > 5 && ended > 5, "{failed} {ended}");
}

/// What one node has stored is stored on another, which has nothing in place.
fn copy(from: &Node, to: &Node) {
    let settings = |node: &Node| node.path("sysroot").join(layout::deployment_settings(&id("aa")));
    fs::create_dir_all(settings(to)).unwrap();
    for entry in fs::read_dir(settings(from)).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), settings(to).join(entry.file_name())).unwrap();
    }
}

//! A tag that moves.

use super::*;

#[test]
fn a_tag_is_looked_at_again_and_where_nobody_answers_what_came_before_stays() {
    let (registry, scene) = (Registry::start(), Scene::new());
    let puller = Puller::with(config(scene.folder.path(), &[&registry.host])).unwrap();
    let folder = scene.place("placed");
    fs::create_dir(&folder).unwrap();
    let [one, two, three] = ["1", "2", "3"].map(image);
    wait(registry.push("tools/admin", "1", &one));
    let to_run = scene.to_run(&format!("docker://{}/tools/admin:1", registry.host));
    let exactly = scene.to_run(&format!("docker://{}/tools/admin@{}", registry.host, digest(&one.manifest)));
    let all = [("admin", &to_run), ("fixed", &exactly), ("bootstrap+disk", &to_run), ("never", &to_run)];
    for (name, to_run) in all {
        fs::write(folder.join(format!("{name}.toml")), toml::to_string(to_run).unwrap()).unwrap();
    }
    let node = &scene.machine.node;
    let guard = |policy: &str| {
        fs::write(scene.place("policy.toml"), policy).unwrap();
        Guard::given_or(scene.place("policy.toml").to_str(), Guard::of_node).unwrap()
    };
    for (name, to_run) in &all[..3] {
        bring(node, &guard(UNSIGNED), &puller, name, to_run, &scene.reporter).unwrap();
    }
    let look = |policy: &str| {
        look_again(node, &guard(policy), &puller, &folder, &scene.reporter);
        let of = |name: &str| node.host_container(name).unwrap().map(|found| found.manifest_digest.to_string());
        assert_eq!((of("fixed"), of("bootstrap+disk")), (Some(digest(&one.manifest)), Some(digest(&one.manifest))));
        // Its own unit asks for what never came.
        assert_eq!(of("never"), None);
        of("admin").unwrap()
    };
    assert_eq!(look(""), digest(&one.manifest));
    wait(registry.push("tools/admin", "1", &two));
    // Not allowed.
    assert_eq!(look(""), digest(&one.manifest));
    assert_eq!(look(UNSIGNED), digest(&two.manifest));
    let next = present(node, "admin", &to_run).unwrap().unwrap();
    assert_eq!(next.manifest_digest.to_string(), digest(&two.manifest));
    let booted = node.booted_deployment().unwrap();
    assert_eq!(node.host_containers_of(&booted).unwrap()["admin"].manifest_digest, next.manifest_digest);
    wait(registry.push("tools/admin", "1", &three));
    drop(registry);
    assert_eq!(look(UNSIGNED), digest(&two.manifest));
    assert!(present(node, "admin", &to_run).unwrap().is_some());
}

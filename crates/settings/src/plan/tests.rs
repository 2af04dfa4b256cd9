use super::*;
use crate::{
    Layers, SetBy,
    render::{Facts, render},
    userdata,
};

fn rendered(text: &str) -> Files {
    let mut layers = Layers::default();
    let by = SetBy::Fact { name: "test".to_owned() };
    layers.add(&userdata::parse(text.as_bytes()).unwrap().tree, |_| by.clone());
    render(&layers.resolve().unwrap_or_else(|problems| panic!("{problems}")).settings, &Facts::default())
}

fn found(manifest: &Manifest) -> BTreeMap<String, Seen> {
    manifest.files.iter().map(|(path, placed)| (path.clone(), placed.seen.clone())).collect()
}

const HOSTNAME: &str = "[settings]\nmotd = 'a'\n[settings.network]\nhostname = 'one'\n";

#[test]
fn what_is_as_it_should_be_asks_for_nothing() {
    let files = rendered(HOSTNAME);
    let placed = Manifest::of(&files);
    assert!(plan(&placed, &found(&placed), &files).is_empty());
    assert!(plan(&Manifest::default(), &BTreeMap::new(), &Files::default()).is_empty());
}

#[test]
fn only_what_differs_is_written_and_only_who_reads_it_is_told() {
    let placed = Manifest::of(&rendered(HOSTNAME));
    let two = plan(&placed, &found(&placed), &rendered(&HOSTNAME.replace("one", "two")));
    let expected = Plan { write: vec!["etc/hostname".to_owned()], tell: vec![Service::Hostname], ..Plan::default() };
    assert_eq!(two, expected);
    // Somebody changed it on the disk, or its permissions.
    for seen in [Seen::of(b"other\n", 0o644), Seen::of(b"one\n", 0o600)] {
        let mut found = found(&placed);
        found.insert("etc/hostname".to_owned(), seen);
        assert_eq!(plan(&placed, &found, &rendered(HOSTNAME)), expected);
    }
}

#[test]
fn what_nobody_asks_for_any_more_is_removed_and_what_others_had_is_kept() {
    let placed = Manifest::of(&rendered(HOSTNAME));
    let gone = plan(&placed, &found(&placed), &rendered("[settings]\nmotd = 'a'\n"));
    assert_eq!(gone.remove, ["etc/hostname"]);
    assert_eq!(gone.tell, [Service::Hostname]);
    // The image has one already: another, or by chance the same.
    for seen in [Seen::of(b"image\n", 0o644), Seen::of(b"a\n", 0o644)] {
        let found = [("etc/motd".to_owned(), seen)].into();
        let first = plan(&Manifest::default(), &found, &rendered(HOSTNAME));
        assert_eq!(first.keep, ["etc/motd"]);
        assert!(first.write.contains(&"etc/hostname".to_owned()));
    }
}

#[test]
fn who_was_not_told_yet_is_told_by_the_next() {
    let (old, new) = (Manifest::of(&rendered(HOSTNAME)), rendered(&HOSTNAME.replace("one", "two")));
    let half = old.before(&new, &plan(&old, &found(&old), &new));
    // All files are in place by now, and it ended there.
    let next = plan(&half, &found(&Manifest::of(&new)), &new);
    assert_eq!(next, Plan { tell: vec![Service::Hostname], ..Plan::default() });
    // None is.
    assert_eq!(plan(&half, &found(&old), &new).write, ["etc/hostname"]);
    // What was only going to be placed is known, too.
    let more = rendered("[settings]\n[settings.kernel.sysctl]\n\"vm.max_map_count\" = \"262144\"\n");
    let half = old.before(&more, &plan(&old, &found(&old), &more));
    let back = plan(&half, &found(&half), &rendered(HOSTNAME));
    assert_eq!(back.remove, ["etc/sysctl.d/90-settings.conf"]);
    let text = serde_json::to_string(&half).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), half);
}

#[test]
fn a_container_is_told_after_the_manager() {
    let web = rendered("[settings.containers.web]\nsource = 'registry.example/web:1'\n");
    let first = plan(&Manifest::default(), &BTreeMap::new(), &web);
    assert_eq!(first.tell, [Service::Manager, Service::Container("web".to_owned())]);
    let placed = Manifest::of(&web);
    let gone = plan(&placed, &found(&placed), &Files::default());
    assert_eq!(gone.tell, [Service::Manager, Service::Container("web".to_owned())]);
}

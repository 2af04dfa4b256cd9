//! Host containers: their images stay while they are named, whatever is pruned.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{fs, io::Cursor};

use rocketos_deploy::{Activation, HostContainer, bless, prune};
use rocketos_model::{DiffId, layout};
use sha2::{Digest as _, Sha256};
use support::{Machine, assert_same, image::release, reference};

/// An image with one file, in the machine's store.
fn container(machine: &Machine, content: &[u8]) -> HostContainer {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, "tool", content).unwrap();
    let tar = tar.into_inner().unwrap();
    let layer = DiffId::from_bytes(Sha256::digest(&tar).into());
    machine.node.store.import_layer(&layer, &mut Cursor::new(&tar)).unwrap();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":{}}}]}}"#,
        DiffId::from_bytes(Sha256::digest(&config).into()),
        config.len(),
        tar.len()
    );
    let image = machine.node.store.commit_container(manifest.as_bytes(), config.as_bytes()).unwrap();
    HostContainer { image: reference(), manifest_digest: image.manifest_digest, composefs_digest: image.facts.digest }
}

#[test]
fn what_a_container_is_named_to_run_stays_and_goes_with_its_name() {
    let [first, second] = ["1", "2"].map(release);
    let mut machine = Machine::new().running(&first);
    let tools = container(&machine, &b"tools".repeat(1000));
    let is_there = |machine: &Machine| machine.node.store.open_container(&tools.manifest_digest).unwrap().is_some();
    machine.node.set_host_container("admin", &tools).unwrap();
    machine.node.set_host_container("other-1", &tools).unwrap();
    assert_eq!(machine.node.host_container("admin").unwrap().as_ref(), Some(&tools));
    assert_eq!(machine.node.host_containers().unwrap().into_keys().collect::<Vec<_>>(), ["admin", "other-1"]);
    let before = machine.files();
    for dry_run in [true, false] {
        prune(&machine.node, dry_run).unwrap();
        assert_same(&machine.files(), &before, "a container's image stays");
    }
    machine.bring(&second, Activation::Tried).unwrap();
    machine.boot();
    bless(&machine.node).unwrap();
    prune(&machine.node, false).unwrap();
    assert!(is_there(&machine), "it outlives an upgrade");

    machine.node.forget_host_container("admin").unwrap();
    machine.node.forget_host_container("admin").unwrap();
    prune(&machine.node, false).unwrap();
    assert!(is_there(&machine), "another has the same image");
    machine.node.forget_host_container("other-1").unwrap();
    assert!(prune(&machine.node, false).unwrap().collected.objects > 0);
    assert!(!is_there(&machine));
}

#[test]
fn what_came_with_a_deployment_stays_as_long_as_that_may_boot() {
    let [first, second] = ["1", "2"].map(release);
    let mut machine = Machine::new().running(&first);
    let [old, new] = [&b"old"[..], b"new"].map(|content| container(&machine, &content.repeat(1000)));
    let is_there = |machine: &Machine, image: &HostContainer| {
        machine.node.store.open_container(&image.manifest_digest).unwrap().is_some()
    };
    machine.node.set_host_container_of(&first.id(), "admin", &old).unwrap();
    // Of what is no deployment nothing is remembered: it would look like one.
    machine.node.set_host_container_of(&second.id(), "admin", &new).unwrap();
    assert!(machine.node.host_containers_of(&second.id()).unwrap().is_empty());
    assert_eq!(machine.node.deployments().unwrap(), [first.id()]);
    machine.bring(&second, Activation::Tried).unwrap();
    machine.node.set_host_container_of(&second.id(), "admin", &new).unwrap();
    assert_eq!(machine.node.host_containers_of(&second.id()).unwrap()["admin"], new);
    prune(&machine.node, false).unwrap();
    assert!(is_there(&machine, &old) && is_there(&machine, &new));
    // Damaged, it is as if it were not there, and stops nothing.
    let path = machine.node.root.join(layout::deployment_host_container(&second.id(), "admin"));
    let before = fs::read(&path).unwrap();
    fs::write(&path, "image = ").unwrap();
    assert!(machine.node.host_containers_of(&second.id()).unwrap().is_empty());
    fs::write(&path, before).unwrap();

    // The first one stays to go back to, and goes with the next.
    machine.boot();
    bless(&machine.node).unwrap();
    prune(&machine.node, false).unwrap();
    assert!(is_there(&machine, &old) && is_there(&machine, &new));
    machine.bring(&release("3"), Activation::Tried).unwrap();
    machine.boot();
    bless(&machine.node).unwrap();
    prune(&machine.node, false).unwrap();
    assert!(!is_there(&machine, &old) && is_there(&machine, &new));
    machine.node.forget_host_container_of(&second.id(), "admin").unwrap();
    prune(&machine.node, false).unwrap();
    assert!(!is_there(&machine, &new));
}

#[test]
fn a_container_whose_image_lost_its_name_keeps_nobody_from_pruning() {
    let machine = Machine::new().running(&release("1"));
    let tools = container(&machine, &b"tools".repeat(1000));
    machine.node.set_host_container("admin", &tools).unwrap();
    machine.node.store.remove_image(&tools.manifest_digest).unwrap();
    assert!(prune(&machine.node, false).unwrap().collected.objects > 0);
    assert!(machine.node.store.open_container(&tools.manifest_digest).unwrap().is_none(), "it has to come again");
}

#[test]
fn what_cannot_be_read_stops_a_prune() {
    let machine = Machine::new().running(&release("1"));
    let tools = container(&machine, &b"tools".repeat(1000));
    machine.node.set_host_container("admin", &tools).unwrap();
    let path = machine.node.root.join(layout::host_container("admin"));
    // Cut off while it was written: the other name does not count.
    fs::write(path.with_extension("unfinished"), "image = ").unwrap();
    prune(&machine.node, false).unwrap();
    fs::write(&path, "image = ").unwrap();
    let error = prune(&machine.node, false).unwrap_err();
    assert!(error.to_string().contains("host-containers/admin"), "{error}");
    assert!(machine.node.store.open_container(&tools.manifest_digest).unwrap().is_some());
}

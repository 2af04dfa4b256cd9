//! Disks that are full.

use std::{ffi::CStr, io::Write as _};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::*;

/// A small file system in memory at a path; removed at the end.
struct Small(PathBuf);

impl Small {
    fn at(path: PathBuf, options: &CStr) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        match mount("tmpfs", &path, "tmpfs", MountFlags::empty(), options) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                eprintln!("skipped: mounting a small file system needs root ({error})");
                None
            }
        }
    }

    /// Leaves no room in it.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("fill");
        let mut file = fs::File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn where_the_disk_is_full_nothing_changes_and_nobody_is_told() {
    let node = Node::new();
    let Some(disk) = Small::at(node.path("sysroot"), c"size=256k,mode=0700") else { return };
    node.engine().change(&set(json!({"motd": "a", "network": {"hostname": "one"}}))).unwrap();
    let before = node.files();
    node.told();
    let fill = disk.fill();
    let error = node.engine().change(&set(json!({"motd": "b", "network": {"hostname": "two"}}))).unwrap_err();
    assert_eq!(error.kind(), Kind::Full, "{error}");
    assert_eq!((node.files(), node.told(), node.engine().standing().unwrap().generation), (before, vec![], 1));
    fs::remove_file(fill).unwrap();
    assert_eq!(node.engine().change(&set(json!({"motd": "b"}))).unwrap().after, 2);
}

#[test]
fn a_node_whose_disk_is_full_after_an_upgrade_comes_up_with_its_settings() {
    let node = Node::new();
    let Some(disk) = Small::at(node.path("sysroot"), c"size=256k,mode=0700") else { return };
    node.engine().change(&set(json!({"motd": "a"}))).unwrap();
    let fill = disk.fill();
    let next = node.engine_of("bb");
    next.boot(|_| Vec::new()).unwrap();
    let receipt = next.boot_receipt().unwrap();
    assert_eq!((node.said("etc/motd").unwrap(), receipt["outcome"].as_str()), ("a\n".into(), Some("applied")));
    assert!(receipt["notes"].to_string().contains("could not be stored"), "{receipt}");
    assert!(node.said("run/issue.d/50-rocketos-settings.issue").unwrap().contains("could not be stored"));
    assert_eq!(next.standing().unwrap().settings.len(), 1);
    assert_eq!(next.change(&set(json!({"ntp": {"time-servers": ["a.example"]}}))).unwrap_err().kind(), Kind::Full);
    fs::remove_file(fill).unwrap();
    // Nothing is lost by a change that comes before the next boot.
    next.change(&set(json!({"ntp": {"time-servers": ["a.example"]}}))).unwrap();
    assert_eq!((node.said("etc/motd").unwrap(), next.standing().unwrap().generation), ("a\n".into(), 2));
}

#[test]
fn where_there_is_no_room_in_memory_nothing_changes() {
    let node = Node::new();
    let Some(memory) = Small::at(node.path("etc"), c"size=64k,mode=0755") else { return };
    node.engine().change(&set(json!({"motd": "a"}))).unwrap();
    let fill = memory.fill();
    let error = node.engine().change(&set(json!({"motd": "b", "network": {"hostname": "two"}}))).unwrap_err();
    assert_eq!(error.kind(), Kind::Full, "{error}");
    assert_eq!((node.said("etc/motd").unwrap(), node.told()), ("a\n".into(), vec![]));
    assert_eq!(node.engine().standing().unwrap().generation, 1);
    fs::remove_file(fill).unwrap();
    assert_eq!(node.engine().change(&set(json!({"motd": "b"}))).unwrap().after, 2);
}

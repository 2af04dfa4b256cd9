//! Sealing a small root. Owners and capabilities can only be kept by root, as whom images are built.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::Path,
};

use rocketos_boot::uki;
use rocketos_model::cmdline;

use crate::{
    fixture::{Fixture, KERNEL, MTIME},
    index,
    survey::{CAPABILITY, capability},
};

/// VFS_CAP_REVISION_2 with CAP_NET_RAW permitted and effective (linux/capability.h).
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Everything of a tree that reaches a layer.
fn describe(top: &Path) -> BTreeMap<String, String> {
    walkdir::WalkDir::new(top)
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let content = match meta.is_file() {
                true => hex(&openssl::sha::sha256(&fs::read(entry.path()).unwrap())),
                false => format!("{:?}", fs::read_link(entry.path()).ok()),
            };
            let path = entry.path().strip_prefix(top).unwrap().display().to_string();
            let facts = (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec(), content);
            (path, format!("{facts:?}"))
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn groups(output: &Path) -> Vec<BTreeMap<String, String>> {
    (0..12).map(|group| describe(&output.join(format!("groups/{group:02}")))).collect()
}

#[test]
fn puts_the_digest_of_all_layers_into_the_kernel() {
    let fixture = Fixture::new();
    let (output, facts) = fixture.seal("out");
    assert_eq!((facts.kernel.as_str(), facts.version.as_str(), facts.variant.as_str()), (KERNEL, "7", "test"));
    let uki = fs::read(output.join(format!("uki/boot/EFI/Linux/{KERNEL}.efi"))).unwrap();
    let line = uki::cmdline(&uki).unwrap();
    assert_eq!(line, format!("{} console=ttyS0 quiet", cmdline::argument(&facts.composefs_digest)));
    assert_eq!(uki::text(&uki, ".uname").unwrap(), KERNEL);
    let image = fixture.image(&output);
    let found = rocketos_store::digest_of_directory(&image).unwrap();
    assert_eq!(found.digest, facts.composefs_digest);
    assert_eq!((found.objects, found.bytes), (facts.objects, facts.bytes));
    let names: Vec<_> = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for mount_point in ["boot", "sysroot", "var", "proc"] {
        assert!(output.join("groups/00").join(mount_point).is_dir(), "{mount_point}");
    }
    for group in groups(&output) {
        assert!(group.contains_key("usr"));
    }
}

#[test]
fn leaves_out_what_the_build_needed() {
    let fixture = Fixture::new();
    fixture.link("usr/bin/apt-link", "apt");
    fixture.link("etc/alternatives/x", "/usr/bin/apt-link");
    fixture.link("usr/bin/beta-link", "beta");
    let (output, _) = fixture.seal("out");
    let image = fixture.image(&output);
    let gone = |path: &str| image.join(path).symlink_metadata().is_err();
    for path in [
        "usr/bin/apt",
        "usr/bin/apt-link",
        "etc/alternatives",
        "usr/share/doc",
        "var/lib",
        &format!("usr/lib/modules/{KERNEL}/vmlinuz"),
    ] {
        assert!(gone(path), "{path}");
    }
    for path in ["usr/bin/beta-link", "home", "var", "sysroot", "tmp", "etc/os-release"] {
        assert!(!gone(path), "{path}");
    }
    let sbom = fs::read_to_string(output.join("sbom.cdx.json")).unwrap();
    assert!(sbom.contains("pkg:deb/debian/alpha@1?arch=amd64&distro=trixie"));
    assert!(!sbom.contains("pkg:deb/debian/apt@"));
}

#[test]
fn keeps_capabilities_hard_links_owners_and_times() {
    let fixture = Fixture::new();
    fixture.rule("permissions.allowed", "/usr/bin/alpha # pings\n/usr/bin/beta # likewise\n");
    let alpha = fixture.root().join("usr/bin/alpha");
    std::os::unix::fs::chown(&alpha, Some(12), Some(34)).unwrap();
    rustix::fs::lsetxattr(&alpha, CAPABILITY, &NET_RAW, rustix::fs::XattrFlags::empty()).unwrap();
    // Another package's file, so that it would have gone to another layer.
    let beta = fixture.root().join("usr/bin/beta");
    fs::remove_file(&beta).unwrap();
    fs::hard_link(&alpha, &beta).unwrap();
    let (output, _) = fixture.seal("out");
    let sealed = output.join("groups/03/usr/bin/alpha");
    let meta = sealed.metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec()), (12, 34, MTIME, 0));
    assert_eq!(capability(&sealed).unwrap().unwrap(), NET_RAW);
    assert_eq!(output.join("groups/03/usr/bin/beta").metadata().unwrap().ino(), meta.ino());
    assert!(!output.join("groups/04/usr/bin/beta").exists());
    assert_eq!(output.join("groups/03/usr").metadata().unwrap().mtime(), 1);
}

#[test]
fn cuts_times_to_the_newest_allowed() {
    let fixture = Fixture::new();
    let options = crate::SealOptions { newest: Some(1_600_000_000), ..fixture.options("out") };
    crate::seal(&options, &crate::Silent).unwrap();
    let mtime = |path: &str| options.output.join(path).metadata().unwrap().mtime();
    assert_eq!(mtime("groups/03/usr/bin/alpha"), 1_600_000_000);
    assert_eq!(mtime(&format!("uki/boot/EFI/Linux/{KERNEL}.efi")), 1_600_000_000);
    let sbom = fs::read_to_string(options.output.join("sbom.cdx.json")).unwrap();
    assert!(sbom.contains("2020-09-13T12:26:40Z"));
}

#[test]
fn gives_the_same_bytes_again() {
    let fixture = Fixture::new();
    let (first, facts) = fixture.seal("first");
    let (second, again) = fixture.seal("second");
    assert_eq!(facts, again);
    assert_eq!(groups(&first), groups(&second));
    assert_eq!(describe(&first.join("uki")), describe(&second.join("uki")));
    for file in ["sbom.cdx.json", "facts.json"] {
        assert_eq!(fs::read(first.join(file)).unwrap(), fs::read(second.join(file)).unwrap());
    }
}

#[test]
fn alters_at_most_two_groups_for_one_package() {
    let fixture = Fixture::new();
    let before = groups(&fixture.seal("before").0);
    fixture.package("beta", "2", &["usr/bin/beta", "usr/bin/beta-new", "usr/lib/beta/data", "etc/beta.conf"]);
    fixture.file("etc/ld.so.cache", "generated anew");
    let after = groups(&fixture.seal("after").0);
    let altered: Vec<usize> = (0..12).filter(|group| before[*group] != after[*group]).collect();
    assert_eq!(altered, [0, 4]);
}

#[test]
fn takes_dropped_modules_out_of_every_index() {
    let fixture = Fixture::new();
    let (output, _) = fixture.seal("out");
    let top = output.join(format!("groups/01/usr/lib/modules/{KERNEL}"));
    assert!(!top.join("kernel/sound").exists());
    let dep = fs::read_to_string(top.join("modules.dep")).unwrap();
    assert_eq!(dep.lines().count(), 2);
    assert!(!fs::read_to_string(top.join("modules.alias")).unwrap().contains("soundcore"));
    let keys = |file: &str| -> Vec<(String, u32)> {
        let values = index::read(&fs::read(top.join(file)).unwrap()).unwrap();
        values.into_iter().map(|value| (String::from_utf8(value.key).unwrap(), value.priority)).collect()
    };
    assert_eq!(keys("modules.dep.bin"), [("virtio_blk".to_owned(), 0), ("virtio_ring".to_owned(), 1)]);
    assert_eq!(keys("modules.alias.bin"), [("ring".to_owned(), 1), ("virtio:d00000002v*".to_owned(), 0)]);
}

#[test]
fn refuses_a_module_whose_dependency_goes() {
    let fixture = Fixture::new();
    fixture.module("kernel/drivers/usb/gadget.ko", &["kernel/sound/soundcore.ko"], "gadget");
    assert_eq!(
        fixture.refusal(),
        "module kernel/drivers/usb/gadget.ko stays and needs kernel/sound/soundcore.ko, which \
         rules/modules.drop:1 leaves out; keep the one, or leave out both"
    );
}

#[test]
fn carries_modules_with_their_dependencies_uncompressed() {
    let fixture = Fixture::new();
    let (output, _) = fixture.seal("out");
    let uki = fs::read(output.join(format!("uki/boot/EFI/Linux/{KERNEL}.efi"))).unwrap();
    let archive = zstd::decode_all(uki::read_section(&uki, ".initrd").unwrap().unwrap()).unwrap();
    let mut rest = archive.as_slice();
    let mut names = Vec::new();
    loop {
        let reader = cpio::newc::Reader::new(rest).unwrap();
        if reader.entry().is_trailer() {
            break;
        }
        names.push(reader.entry().name().to_owned());
        assert_eq!((reader.entry().mtime(), reader.entry().uid()), (0, 0));
        rest = reader.finish().unwrap();
    }
    let sorted = {
        let mut sorted = names.clone();
        sorted.sort();
        sorted
    };
    assert_eq!(names, sorted);
    let modules: Vec<_> = names.iter().filter(|name| name.ends_with(".ko")).collect();
    assert_eq!(
        modules,
        [
            &format!("lib/modules/{KERNEL}/kernel/drivers/block/virtio_blk.ko"),
            &format!("lib/modules/{KERNEL}/kernel/drivers/virtio/virtio-ring.ko"),
        ]
    );
    assert!(names.contains(&"init".to_owned()) && names.contains(&"dev".to_owned()));
}

#[test]
fn names_what_it_refuses_and_what_to_do() {
    let fixture = Fixture::new();
    fixture.rule("initramfs.modules", "ext4\nnowhere\n");
    assert_eq!(
        fixture.refusal(),
        "rules/initramfs.modules:2: the kernel has no module 'nowhere'; a trailing '?' would make it optional"
    );
    let fixture = Fixture::new();
    fixture.rule("config.required", "CONFIG_EROFS_FS=m\nCONFIG_X=y\n");
    assert_eq!(
        fixture.refusal(),
        "the kernel's configuration lacks what rules/config.required:2 requires: CONFIG_X=y, it has nothing"
    );
    let fixture = Fixture::new();
    fixture.file("usr/lib/modules/6.2/config", "");
    assert_eq!(fixture.refusal(), format!("the root has 2 kernels ({KERNEL}, 6.2); an image carries exactly one"));
    let fixture = Fixture::new();
    let _socket = UnixListener::bind(fixture.root().join("usr/lib/beta/socket")).unwrap();
    assert_eq!(
        fixture.refusal(),
        "/usr/lib/beta/socket (package none): a socket has no place in an image; remove it, or name it in a prune rule"
    );
    let fixture = Fixture::new();
    fs::remove_file(fixture.root().join(format!("usr/lib/modules/{KERNEL}/vmlinuz"))).unwrap();
    assert_eq!(
        fixture.refusal(),
        format!("the root has no /usr/lib/modules/{KERNEL}/vmlinuz; move the kernel there from /boot")
    );
    assert_eq!(fixture.refusal(), "refused is not empty; seal into a folder of its own");
}

/// Makes a file of the root one that may be started.
fn executable(fixture: &Fixture, path: &str, content: impl AsRef<[u8]>, mode: u32) {
    fixture.file(path, content);
    fs::set_permissions(fixture.root().join(path), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn refuses_what_a_node_has_no_place_for() {
    let rule = "shell package ash-*\ninterpreter path /usr/bin/python*\nshell content I am a shell\n";
    let cases: [(&dyn Fn(&Fixture), &str); 5] = [
        (&|made| made.package("ash-static", "1", &["usr/lib/x"]), "/usr/lib/x (shell of package ash-static)"),
        (&|made| made.link("usr/bin/python3", "beta"), "/usr/bin/python3 (interpreter)"),
        (&|made| executable(made, "usr/bin/tool", "\x7fELF … I am a shell", 0o755), "/usr/bin/tool (shell)"),
        (&|made| executable(made, "usr/lib/x", "#!/usr/bin/beta\n", 0o755), "/usr/lib/x (script)"),
        (&|made| executable(made, "usr/bin/x", "x", 0o4755), "/usr/bin/x (set-user-id)"),
    ];
    for (add, named) in cases {
        let fixture = Fixture::new();
        fixture.rule("forbidden", rule);
        add(&fixture);
        let expected = format!("a node has no place for {named}; leave them out by prune or build-only.packages rules");
        assert_eq!(fixture.refusal(), expected);
        // Left out, it does no harm; and no drop-in can take a line back.
        fixture.file("usr/share/rocketos/seal.d/a.forbidden", "");
        assert_eq!(fixture.refusal().lines().count(), 1);
        fixture.file("usr/share/rocketos/seal.d/a.prune", "/usr/lib/x\n/usr/bin/{x,tool,python3}\n");
        fixture.seal("pruned");
    }
}

#[test]
fn excuses_dev_alone() {
    let fixture = Fixture::new();
    executable(&fixture, "usr/bin/x", "#!/bin/sh\n", 0o755);
    assert!(fixture.refusal().contains("/usr/bin/x (script)"));
    let image = fixture.root().join("usr/lib/os-release");
    let text = fs::read_to_string(image).unwrap();
    fixture.file("usr/lib/os-release", text.replace("VARIANT_ID=test", "VARIANT_ID=dev"));
    fixture.seal("dev");
}

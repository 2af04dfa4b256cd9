//! A root small enough to be made in a test: three packages, one kernel, the rules to seal it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    SealFacts, SealOptions, Silent,
    index::{self, Value},
    output::stamp,
    seal,
};

/// The kernel's release.
pub(crate) const KERNEL: &str = "6.1-test";
/// When every file was changed last.
pub(crate) const MTIME: i64 = 1_700_000_000;

/// The root, the rules, and the output.
pub(crate) struct Fixture {
    folder: TempDir,
}

/// A PE32+ file without sections, with room for some.
pub(crate) fn stub() -> Vec<u8> {
    let mut out = vec![0; 0x400];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x80_u32.to_le_bytes());
    put(0x80, b"PE\0\0");
    put(0x94, &240_u16.to_le_bytes());
    put(0x98, &0x20b_u16.to_le_bytes());
    for (at, value) in [(32, 0x1000_u32), (36, 0x200), (56, 0x1000), (60, 0x400), (108, 16)] {
        put(0x98 + at, &value.to_le_bytes());
    }
    out
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let made = Self { folder: TempDir::new().unwrap() };
        fs::create_dir_all(made.rules()).unwrap();
        fs::write(made.folder.path().join("stub"), stub()).unwrap();
        fs::write(made.folder.path().join("init"), "the program").unwrap();
        made.rule("prune", "/usr/share/doc/**\n/usr/share/doc\n");
        made.rule("build-only.packages", "apt\n");
        made.rule("groups", "alpha 03\nbeta 04\n");
        made.rule("modules.drop", "sound/**\n");
        made.rule("initramfs.modules", "virtio-blk\n");
        made.rule("cmdline", "console=ttyS0\nquiet # why\n");
        made.rule("config.required", "CONFIG_EROFS_FS=m\n");
        made.system();
        made.kernel();
        made.package("alpha", "1", &["usr/bin/alpha", "usr/share/doc/alpha/copyright"]);
        made.package("beta", "1", &["usr/bin/beta", "usr/lib/beta/data"]);
        made.package("apt", "1", &["usr/bin/apt", "usr/share/doc/apt/copyright"]);
        made
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn rules(&self) -> PathBuf {
        self.folder.path().join("rules")
    }

    pub(crate) fn rule(&self, name: &str, text: &str) {
        let full = self.rules().join(name);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, text).unwrap();
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let full = self.root().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(&full, content).unwrap();
        fs::set_permissions(&full, fs::Permissions::from_mode(0o644)).unwrap();
        stamp(&full, MTIME).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let full = self.root().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        symlink(target, &full).unwrap();
        stamp(&full, MTIME).unwrap();
    }

    /// Installs a package whose files are larger than what is kept inline.
    pub(crate) fn package(&self, name: &str, version: &str, files: &[&str]) {
        let status = self.root().join("var/lib/dpkg/status");
        let old = fs::read_to_string(&status).unwrap_or_default();
        let kept: String =
            old.split_inclusive("\n\n").filter(|stanza| !stanza.starts_with(&format!("Package: {name}\n"))).collect();
        let stanza =
            format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n");
        self.file("var/lib/dpkg/status", kept + &stanza);
        let list: String = files.iter().map(|path| format!("/{path}\n")).collect();
        self.file(&format!("var/lib/dpkg/info/{name}.list"), format!("/.\n/usr\n{list}"));
        for path in files {
            self.file(path, format!("{name} {version} {path}\n").repeat(40));
        }
    }

    fn system(&self) {
        for folder in ["sysroot", "boot", "dev", "proc", "sys", "run", "tmp", "var", "usr/bin"] {
            fs::create_dir_all(self.root().join(folder)).unwrap();
        }
        self.link("bin", "usr/bin");
        self.link("ostree", "sysroot/ostree");
        self.link("home", "var/home");
        self.link("etc/os-release", "../usr/lib/os-release");
        self.file(
            "usr/lib/os-release",
            "ID=rocketos\nNAME=\"Rocket OS\"\nVERSION_ID=13\nVARIANT_ID=test\nIMAGE_VERSION=7\nVERSION_CODENAME=trixie\n",
        );
        self.file(
            "usr/lib/rocketos/trust/policy.toml",
            "[key.a]\npem = '''\n-----BEGIN PUBLIC KEY-----\n\
             MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n'''\n\
             [default]\naccept = 'signed'\nkeys = ['a']\n",
        );
        self.file("usr/bin/rocketctl", "program".repeat(100));
        self.file("usr/lib/ostree/prepare-root.conf", "[composefs]\nenabled = yes\n");
        self.file("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "loader");
        self.file("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        self.file("usr/lib/sysusers.d/basic.conf", "u root 0\n");
        let folders = ["cache", "lib", "log", "spool", "tmp", "roothome", "home"];
        let lines: String = folders.iter().map(|name| format!("d /var/{name} 0755\n")).collect();
        self.file("usr/lib/tmpfiles.d/var.conf", lines);
    }

    fn kernel(&self) {
        let top = format!("usr/lib/modules/{KERNEL}");
        self.file(&format!("{top}/vmlinuz"), "the kernel");
        self.file(&format!("{top}/config"), "CONFIG_EROFS_FS=y\n# CONFIG_X is not set\n");
        self.file(&format!("{top}/modules.builtin"), "kernel/fs/ext4/ext4.ko\n");
        self.module(
            "kernel/drivers/block/virtio_blk.ko",
            &["kernel/drivers/virtio/virtio-ring.ko"],
            "virtio:d00000002v*",
        );
        self.module("kernel/drivers/virtio/virtio-ring.ko", &[], "ring");
        self.module("kernel/sound/soundcore.ko", &[], "char-major-14-*");
    }

    /// Adds a module to the kernel and to depmod's files.
    pub(crate) fn module(&self, path: &str, needs: &[&str], alias: &str) {
        let top = format!("usr/lib/modules/{KERNEL}");
        self.file(&format!("{top}/{path}"), format!("module {path}").repeat(30));
        let name = crate::modules::name_of(path).unwrap();
        let line = [&[format!("{path}:").as_str()], needs].concat().join(" ");
        self.append(&format!("{top}/modules.dep"), &line);
        self.append(&format!("{top}/modules.alias"), &format!("alias {alias} {name}"));
        self.index(&format!("{top}/modules.dep.bin"), &name, &line);
        self.index(&format!("{top}/modules.alias.bin"), alias, &name);
    }

    fn append(&self, path: &str, line: &str) {
        let old = fs::read_to_string(self.root().join(path)).unwrap_or_default();
        self.file(path, format!("{old}{line}\n"));
    }

    fn index(&self, path: &str, key: &str, text: &str) {
        let mut values = match fs::read(self.root().join(path)) {
            Ok(bytes) => index::read(&bytes).unwrap(),
            Err(_) => Vec::new(),
        };
        values.push(Value { key: key.into(), priority: u32::try_from(values.len()).unwrap(), text: text.into() });
        self.file(path, index::write(values).unwrap());
    }

    pub(crate) fn options(&self, output: &str) -> SealOptions {
        SealOptions {
            rules: self.rules(),
            init: self.folder.path().join("init"),
            stub: self.folder.path().join("stub"),
            ..SealOptions::new(self.root(), self.folder.path().join(output))
        }
    }

    pub(crate) fn lint_options(&self) -> crate::LintOptions {
        crate::LintOptions { rules: self.rules(), ..crate::LintOptions::default() }
    }

    pub(crate) fn seal(&self, output: &str) -> (PathBuf, SealFacts) {
        let options = self.options(output);
        let facts = seal(&options, None, &Silent).unwrap();
        (options.output, facts)
    }

    pub(crate) fn refusal(&self) -> String {
        let said = seal(&self.options("refused"), None, &Silent).unwrap_err().to_string();
        said.replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// Puts the layers one upon the other, as a node does.
    pub(crate) fn image(&self, output: &Path) -> PathBuf {
        let image = self.folder.path().join("image");
        let layers = (0..12).map(|group| format!("groups/{group:02}")).chain(["uki".to_owned()]);
        for layer in layers {
            let layer = output.join(layer);
            for entry in walkdir::WalkDir::new(&layer).contents_first(false) {
                let entry = entry.unwrap();
                let to = image.join(entry.path().strip_prefix(&layer).unwrap());
                if entry.file_type().is_dir() {
                    fs::create_dir_all(&to).unwrap();
                    fs::set_permissions(&to, entry.metadata().unwrap().permissions()).unwrap();
                } else {
                    fs::hard_link(entry.path(), &to).unwrap();
                }
            }
        }
        for entry in walkdir::WalkDir::new(&image).contents_first(true) {
            let entry = entry.unwrap();
            if entry.file_type().is_dir() {
                stamp(entry.path(), crate::output::FOLDER_MTIME).unwrap();
            }
        }
        image
    }
}

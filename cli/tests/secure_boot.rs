//! `rocketctl keys`: what it makes, sbsigntool and OpenSSL read too; what it refuses. Firmware is asked in tests/boot.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use rocketos_trust::firmware::Update;
use tempfile::TempDir;

struct Scene {
    folder: TempDir,
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A PE32+ program with one section, whose first byte is `mark`.
fn program(mark: u8) -> Vec<u8> {
    let mut out = vec![0; 0x600];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x80_u32.to_le_bytes());
    put(0x80, b"PE\0\0\x64\x86\x01\0");
    put(0x94, &240_u16.to_le_bytes());
    put(0x98, &0x20b_u16.to_le_bytes());
    for (at, value) in [(32, 0x1000_u32), (36, 0x200), (56, 0x2000), (60, 0x400), (68, 10), (108, 16)] {
        put(0x98 + at, &value.to_le_bytes());
    }
    put(0x188, b".text");
    for (at, value) in [(8, 0x200_u32), (12, 0x1000), (16, 0x200), (20, 0x400), (36, 0x6000_0020)] {
        put(0x188 + at, &value.to_le_bytes());
    }
    put(0x400, &[mark]);
    out
}

impl Scene {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rocketctl")).args(words).current_dir(self.path()).output().unwrap()
    }

    fn done(&self, line: &str) -> String {
        let output = self.run(&line.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "{line}: {}", said(&output));
        said(&output)
    }

    fn refused(&self, line: &str, why: &str) {
        let output = self.run(&line.split(' ').collect::<Vec<_>>());
        assert!(!output.status.success() && said(&output).contains(why), "{line}: {}", said(&output));
    }

    fn sbverify(&self, certificate: &str, program: &str) -> bool {
        let run = Command::new("sbverify").args(["--cert", certificate, program]).current_dir(self.path()).output();
        run.expect("sbverify, of Debian's sbsigntool").status.success()
    }
}

#[test]
fn what_we_sign_sbverify_accepts_and_a_flipped_byte_it_refuses() {
    let scene = Scene::new();
    scene.done("keys init ours");
    scene.done("keys init theirs --name Theirs");
    fs::write(scene.path().join("a.efi"), program(1)).unwrap();
    assert!(!scene.sbverify("ours/db.crt", "a.efi"));
    scene.refused("keys verify --certificate ours/db.crt a.efi", "it is not signed");
    scene.done("keys sign --keys ours --output b.efi a.efi");
    assert!(scene.sbverify("ours/db.crt", "b.efi") && !scene.sbverify("theirs/db.crt", "b.efi"));
    scene.done("keys verify --certificate ours/db.crt b.efi");
    scene.refused("keys verify --certificate theirs/db.crt b.efi", "not by Theirs db");
    let mut changed = fs::read(scene.path().join("b.efi")).unwrap();
    changed[0x500] ^= 1;
    fs::write(scene.path().join("c.efi"), changed).unwrap();
    assert!(!scene.sbverify("ours/db.crt", "c.efi"));
    scene.refused("keys verify --certificate ours/db.crt c.efi", "it was changed afterwards");
    // In its place, and by both, as while keys rotate.
    scene.done("keys sign --keys theirs b.efi");
    for owner in ["ours", "theirs"] {
        assert!(scene.sbverify(&format!("{owner}/db.crt"), "b.efi"), "{owner}");
        scene.done(&format!("keys verify --certificate {owner}/db.crt b.efi"));
    }
}

#[test]
fn a_program_that_holds_the_key_signs_as_a_file_does() {
    let scene = Scene::new();
    let script =
        "#!/bin/sh\n[ \"$ROCKETCTL_SCHEME\" = rsa-pkcs1v15-sha256 ] && exec openssl dgst -sha256 -sign held.pem\n";
    fs::write(scene.path().join("signer"), script).unwrap();
    fs::set_permissions(scene.path().join("signer"), fs::Permissions::from_mode(0o755)).unwrap();
    for line in ["genrsa -out held.pem 2048", "pkey -in held.pem -pubout -out held.pub"] {
        let run = Command::new("openssl").args(line.split(' ')).current_dir(scene.path()).output().unwrap();
        assert!(run.status.success(), "{}", said(&run));
    }
    scene.done("keys init ours --db exec:./signer,held.pub");
    assert!(!scene.path().join("ours/db.key").exists());
    fs::write(scene.path().join("a.efi"), program(1)).unwrap();
    scene.done("keys sign --keys ours a.efi");
    assert!(scene.sbverify("ours/db.crt", "a.efi"));
}

#[test]
fn keys_are_private_and_never_overwritten() {
    let scene = Scene::new();
    scene.done("keys init ours");
    for role in ["PK", "KEK", "db"] {
        let mode =
            |name: &str| fs::metadata(scene.path().join("ours").join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&format!("{role}.key")), mode(&format!("{role}.auth"))), (0o600, 0o644));
    }
    scene.refused("keys init ours", "must not be there yet");
    // A certificate of another key: nothing is signed by it.
    scene.done("keys init theirs");
    fs::copy(scene.path().join("theirs/db.crt"), scene.path().join("ours/db.crt")).unwrap();
    fs::write(scene.path().join("a.efi"), program(1)).unwrap();
    scene.refused("keys sign --keys ours a.efi", "is not of the key");
    scene.refused("keys init mine --name a,b", "is no name for a certificate");
}

#[test]
fn rotating_and_revoking_make_updates_that_say_what_they_are() {
    let scene = Scene::new();
    scene.done("keys init old");
    scene.done("keys rotate old new");
    let told = scene.done("keys apply --dry-run old new/begin new/end");
    for line in [
        "old/PK.auth replaces PK.",
        "new/begin/1-db.auth adds to db.",
        "new/begin/2-KEK.auth adds to KEK.",
        "new/begin/3-PK.auth replaces PK.",
        "new/end/1-db.auth replaces db.",
        "new/end/2-KEK.auth replaces KEK.",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    // All of them within a second, and firmware takes only what is younger.
    let at = |file: &str| Update::read(&fs::read(scene.path().join(file)).unwrap()).unwrap().at;
    assert!(at("old/PK.auth") < at("new/begin/3-PK.auth") && at("new/begin/1-db.auth") < at("new/end/1-db.auth"));
    scene.done("keys rotate new newest");
    assert!(at("new/end/2-KEK.auth") < at("newest/begin/2-KEK.auth"));
    fs::write(scene.path().join("a.efi"), program(1)).unwrap();
    let unsigned = scene.done("keys revoke --keys old --output a.auth a.efi");
    scene.done("keys sign --keys old a.efi");
    let signed = scene.done("keys revoke --keys old --output b.auth a.efi");
    assert_eq!(unsigned[..64], signed[..64], "a signature changes nothing of what is revoked");
    assert!(scene.done("keys apply --dry-run a.auth").contains("a.auth adds to dbx."));
    // The digest is in it as it is.
    let update = fs::read(scene.path().join("a.auth")).unwrap();
    assert!(hex::encode(update).ends_with(&unsigned[..64]));
    fs::write(scene.path().join("bad.auth"), b"no update").unwrap();
    scene.refused("keys apply --dry-run bad.auth", "reading bad.auth");
}

#[test]
fn an_addon_carries_its_arguments_and_a_signature() {
    let scene = Scene::new();
    scene.done("keys init ours");
    fs::write(scene.path().join("stub"), program(1)).unwrap();
    scene.done("keys addon --keys ours --stub stub --output local.addon.efi hugepages=4 isolcpus=2");
    let addon = fs::read(scene.path().join("local.addon.efi")).unwrap();
    assert_eq!(rocketos_boot::uki::cmdline(&addon).unwrap(), "hugepages=4 isolcpus=2");
    assert!(scene.sbverify("ours/db.crt", "local.addon.efi"));
    scene.refused("keys addon --keys ours --stub stub --output local.addon.efi a", "writing local.addon.efi");
}

#[test]
fn a_key_in_a_token_signs_as_a_file_does() {
    let scene = Scene::new();
    let module = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
    let module = module.into_iter().find(|path| Path::new(path).exists());
    let module = module.expect("this test needs SoftHSM and OpenSC: 'apt-get install softhsm2 opensc'");
    let conf = scene.path().join("softhsm2.conf");
    let tokens = scene.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
    let tool = |program: &str, line: &str| {
        let mut command = Command::new(program);
        let output = command.args(line.split(' ')).env("SOFTHSM2_CONF", &conf).current_dir(scene.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{program} {line}: {}", said(&output));
    };
    tool("softhsm2-util", "--init-token --free --label desk --pin 1234 --so-pin 5678");
    tool(
        "pkcs11-tool",
        &format!("--module {module} --token-label desk --login --pin 1234 --keypairgen --key-type rsa:2048 --id 01"),
    );
    fs::write(scene.path().join("pin"), "1234").unwrap();
    fs::write(scene.path().join("a.efi"), program(1)).unwrap();
    let uri = format!("pkcs11:token=desk;id=%01?module-path={module}&pin-source=pin");
    tool(env!("CARGO_BIN_EXE_rocketctl"), &format!("keys init ours --db {uri}"));
    tool(env!("CARGO_BIN_EXE_rocketctl"), "keys sign --keys ours a.efi");
    assert!(!scene.path().join("ours/db.key").exists() && scene.sbverify("ours/db.crt", "a.efi"));
}

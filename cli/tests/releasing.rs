//! `rocketctl release`: from the first root to a recall, as docs/releasing.md has it, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

// The registry and the images that rocketos-oci is tested with.
#[path = "../../crates/oci/tests/support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use support::{
    image::{Image, noise, plain, tar},
    registry::Registry,
};
use tempfile::TempDir;

const PAGE: &str = include_str!("../../docs/releasing.md");
const IMAGE: &str = "os/edge";

struct Scene {
    folder: TempDir,
    registry: Option<Registry>,
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// An image as sealing labels it.
fn image(version: &str, architecture: &str) -> Image {
    let layer = plain(&tar(&[("usr/a", &noise(version.len() as u64, 1000))]));
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Labels": {
            "containers.bootc": "1", "org.opencontainers.image.version": version, "org.rocketos.variant": "standalone",
        }},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    });
    Image::with_config(vec![layer], &config)
}

impl Scene {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), registry: None }
    }

    /// With a registry that has the versions 1 and 2.
    async fn with_registry() -> Self {
        let scene = Self { registry: Some(Registry::start()), ..Self::new() };
        let registry = scene.registry.as_ref().unwrap();
        for version in ["1", "2"] {
            registry.push(IMAGE, version, &image(version, "amd64")).await;
        }
        let text = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.host);
        fs::write(scene.path("registries.conf"), text).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn place(&self, repository: &str) -> String {
        format!("docker://{}/{repository}", self.registry.as_ref().unwrap().host)
    }

    fn command(&self, program: &str) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_rocketctl")).parent().unwrap().to_owned();
        let rest = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(std::iter::once(programs).chain(env::split_paths(&rest))).unwrap();
        let mut command = Command::new(program);
        command
            .env("PATH", path)
            .env("CONTAINERS_REGISTRIES_CONF", self.path("registries.conf"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn sh(&self, script: &str) -> Output {
        let mut command = self.command("sh");
        if self.registry.is_some() {
            command.env("IMAGE", self.place(IMAGE)).env("PLACE", self.place("os/releases"));
        }
        command.args(["-euc", script]).output().unwrap()
    }

    fn release(&self, words: &str) -> Output {
        self.command("rocketctl").arg("release").args(words.split_whitespace()).output().unwrap()
    }

    fn does(&self, words: &str) -> String {
        let output = self.release(words);
        assert!(output.status.success(), "{words}: {}", said(&output));
        said(&output)
    }

    /// It is refused for this reason, and no file changes.
    fn refuses(&self, words: &str, reason: &str) {
        let before = self.files();
        let output = self.release(words);
        assert!(!output.status.success(), "{words}: {}", said(&output));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(reason), "{words}: '{reason}' is not in: {error}");
        assert!(before == self.files(), "{words}: files changed");
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => walk(&path, found),
                    false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.folder.path(), &mut found);
        found
    }

    fn key(&self, name: &str) {
        let script = format!(
            "openssl genpkey -algorithm ed25519 -out {name}.pem; openssl pkey -in {name}.pem -pubout -out {name}.pub"
        );
        let output = self.sh(&script);
        assert!(output.status.success(), "{}", said(&output));
    }

    /// One key for everything off line, one for everything on line, published as a directory.
    fn begun() -> Self {
        let scene = Self::new();
        scene.key("off");
        scene.key("on");
        scene.does(
            "init --dir desk --root-key off.pub --targets-key off.pub --snapshot-key on.pub --timestamp-key on.pub",
        );
        fs::write(scene.path("policy.toml"), "[default]\naccept = 'nothing'\n").unwrap();
        scene.does("policy --dir desk policy.toml");
        scene.does("sign --dir desk --key off.pem --yes");
        scene.does("publish --dir desk --key on.pem --to dir:out");
        scene
    }

    /// What a node sees of a channel that began with the first root.
    fn show(&self, from: &str, channel: &str) -> Value {
        let output =
            self.does(&format!("show --json --from {from} --root desk/metadata/1.root.json --channel {channel}"));
        serde_json::from_str(&output).unwrap()
    }

    /// The version of the timestamp that a node sees, which needs everything else to be whole.
    fn timestamp(&self, place: &str) -> u64 {
        let output = self.release(&format!("show --from {place} --root desk/metadata/1.root.json --channel none"));
        // No channel is needed to see that all up to the targets is whole.
        assert!(said(&output).contains("no role names a target 'none.json'"), "{}", said(&output));
        let path = self.path(place.strip_prefix("dir:").unwrap()).join("metadata/timestamp.json");
        let timestamp: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        timestamp["signed"]["version"].as_u64().unwrap()
    }
}

/// The `sh` blocks of the page.
fn scripts() -> String {
    let blocks = PAGE.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_true() {
    let scene = Scene::with_registry().await;
    let output = scene.sh(&scripts());
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    for expected in [
        "adds 1 standalone amd64 in channel edge: docker://",
        "1 % at once, 50 % after 1 h, all after 1 d",
        "notes \"First of its kind.\"",
        "adds the policy that nodes follow",
        "halted",
        "recalls 2 standalone amd64 in channel edge: It forgets its host name.",
        "root gains the key dave (",
        "root loses the key carol (",
        "root version 2 has 2 of 2 signatures by root version 1, by alice",
        "Published nothing new, for longer: root 2, targets 3, timestamp 5",
    ] {
        assert!(text.contains(expected), "'{expected}' is not in: {text}");
    }
    let edge = scene.show(&scene.place("os/releases"), "edge");
    assert_eq!(edge["rootVersion"], 2);
    let releases = edge["document"]["releases"].as_array().unwrap();
    assert_eq!(releases.len(), 2);
    assert_eq!(releases[1]["recalled"], "It forgets its host name.");
    assert_eq!(releases[1]["earliest"], "1");
    assert_eq!(releases[0]["digest"], image("1", "amd64").digest());
    assert_eq!(releases[0]["image"], scene.place(IMAGE));
    let stable = scene.show("dir:desk", "stable");
    assert_eq!(stable["document"]["releases"][0]["curve"], json!([{"after": 0, "share": 1.0}]));
    // Nothing secret is anywhere in it.
    assert!(scene.files().iter().all(|(path, bytes)| {
        !path.starts_with(scene.path("desk")) || !String::from_utf8_lossy(bytes).contains("PRIVATE")
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn adds_every_architecture_and_only_what_nodes_boot() {
    let scene = Scene::with_registry().await;
    let registry = scene.registry.as_ref().unwrap();
    let (amd64, arm64) = (image("3", "amd64"), image("3", "arm64"));
    registry.push(IMAGE, "3-amd64", &amd64).await;
    registry.push(IMAGE, "3-arm64", &arm64).await;
    registry.push_index(IMAGE, "3", &[("amd64", &amd64), ("arm64", &arm64)]).await;
    let bare = Image::new(vec![plain(&tar(&[("a", b"b")]))]);
    registry.push(IMAGE, "bare", &bare).await;
    for name in ["off", "on"] {
        scene.key(name);
    }
    scene.refuses("diff --dir desk", "'release init' begins");
    scene.does("init --dir desk --root-key off.pub --targets-key off.pub --snapshot-key on.pub --timestamp-key on.pub");
    scene.refuses(
        "init --dir desk --root-key off.pub --targets-key off.pub --snapshot-key on.pub --timestamp-key on.pub",
        "is there already",
    );
    let image = scene.place(IMAGE);
    let json = scene.does(&format!("add --json --dir desk --channel edge {image}:3 --published 2026-11-22T10:00:00Z"));
    let report: Value = serde_json::from_str(&json).unwrap();
    let targets = &report["draft"][1];
    let kinds: Vec<_> = targets["changes"].as_array().unwrap().iter().map(|change| change["kind"].clone()).collect();
    assert_eq!(kinds, [json!("adds"), json!("adds"), json!("adds"), Value::Null], "{report:#}");
    for (at, found) in [(1, &amd64), (2, &arm64)] {
        let text = targets["changes"][at]["text"].as_str().unwrap();
        assert!(text.contains(&found.digest()) && text.ends_with("2026-11-22T10:00:00Z"), "{text}");
    }
    // A manifest for another machine than this one, by its digest.
    scene.does(&format!("add --dir desk --channel arm {image}@{}", arm64.digest()));
    fs::write(scene.path("curve.json"), "[{\"after\": 1, \"share\": 2}]").unwrap();
    for (words, reason) in [
        (format!("add --dir desk --channel edge {image}:3"), "has 3 standalone amd64 already"),
        (format!("add --dir desk --channel edge {image}:bare"), "lacks the label org.opencontainers.image.version"),
        (format!("add --dir desk --channel edge {image}:absent"), "absent"),
        (format!("add --dir desk --channel Edge {image}:1"), "'Edge' is not a channel's name"),
        (format!("add --dir desk --channel edge {image}:1 --earliest a/b"), "is not a version"),
        (format!("add --dir desk --channel edge {image}:1 --curve curve.json"), "2 is not a share"),
        (format!("add --dir desk --channel edge {image}:1 --curve none.json"), "none.json is not there"),
        ("add --dir desk --channel edge oci:layout".to_owned(), "is not in a registry"),
        ("halt --dir desk --channel edge 9".to_owned(), "channel edge has no release 9; it has 3, 3"),
        ("resume --dir desk --channel edge 3".to_owned(), "is not halted"),
        ("halt --dir desk --channel none 3".to_owned(), "there is no channel none"),
        ("promote --dir desk --from edge --to edge 3".to_owned(), "are one channel"),
        ("policy --dir desk curve.json".to_owned(), "reading the policy curve.json"),
        ("renew --dir desk --role snapshot".to_owned(), "renewed by each 'release publish'"),
        ("rotate-keys --dir desk --role root".to_owned(), "say what is to change"),
        ("rotate-keys --dir desk --role root --remove off".to_owned(), "root asks for 1 of 0 keys"),
        ("publish --dir desk --key on.pem --to https://releases.example/".to_owned(), "cannot be written to"),
    ] {
        scene.refuses(&words, reason);
    }
    scene.refuses("retire --dir desk --channel edge 3", "3 is the newest in channel edge");
    scene.does(&format!("add --dir desk --channel arm {image}:1"));
    let text = scene.does("retire --dir desk --channel arm 1");
    assert!(!text.contains(" 1 standalone amd64 in channel arm"), "{text}");
    scene.does("recall --dir desk --channel edge 3 --reason Bad");
    scene.refuses("promote --dir desk --from edge --to stable 3", "3 is recalled in channel edge: Bad");
}

#[test]
fn asks_for_two_of_three_and_drops_signatures_of_what_changes() {
    let scene = Scene::new();
    for name in ["alice", "bob", "carol", "off", "on"] {
        scene.key(name);
    }
    let online = "--snapshot-key on.pub --timestamp-key on.pub";
    scene.refuses(
        &format!("init --dir desk --root-key alice.pub --threshold root=2 --targets-key off.pub {online}"),
        "root asks for 2 of 1 keys",
    );
    let roots = "--root-key alice.pub --root-key bob.pub --root-key carol.pub --threshold root=2 --threshold targets=1";
    scene.does(&format!("init --dir desk {roots} --targets-key off.pub {online} --days timestamp=1"));
    let short = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    scene.does("sign --dir desk --key alice.pem --key off.pem --yes");
    scene
        .refuses("publish --dir desk --key on.pem", "root version 1 has 1 of 2 signatures by root version 1, by alice");
    scene.refuses("publish --dir desk --key on.pem", "1 missing, which bob (");
    scene.refuses("sign --dir desk --key on.pem --yes", "the key on (");
    scene.refuses("sign --dir desk --key bob.pem", "say --yes");
    fs::write(scene.path("policy.toml"), "[default]\naccept = 'nothing'\n").unwrap();
    let changed = short(&scene.does("policy --dir desk policy.toml"));
    assert!(changed.contains("The draft changed: 1 signatures of the one before are discarded."), "{changed}");
    scene.does("sign --dir desk --key carol.pem --yes");
    scene.refuses("publish --dir desk --key on.pem", "targets version 1 has 0 of 1 signatures");
    scene.does("sign --dir desk --key off.pem --yes");
    scene.refuses("publish --dir desk --key off.pem", "snapshot version 1 has 0 of 1 signatures");
    let published: Value = serde_json::from_str(&scene.does("publish --json --dir desk --key on.pem")).unwrap();
    assert_eq!(published["changed"], true);
    scene.refuses("sign --dir desk --key off.pem --yes", "nothing is drafted");
    // A draft that somebody bent.
    fs::write(scene.path("policy.toml"), "[default]\naccept = 'unsigned'\n").unwrap();
    let text = scene.does("policy --dir desk policy.toml");
    assert!(text.contains("- accept = 'nothing'") && text.contains("+ accept = 'unsigned'"), "{text}");
    scene.does("sign --dir desk --key off.pem --yes");
    let draft = scene.path("desk/draft/targets.json");
    let bent = fs::read_to_string(&draft).unwrap().replace("\"length\": 30", "\"length\": 31");
    fs::write(&draft, bent).unwrap();
    scene.refuses("publish --dir desk --key on.pem", "targets version 2 has 0 of 1 signatures");
    scene.refuses("sign --dir desk --key off.pem --yes", "is not what the document says");
    // What no copy of a directory has.
    let pipe = scene.path("desk/draft/targets/pipe");
    assert!(scene.sh("mkfifo desk/draft/targets/pipe").status.success());
    let output = scene.release("diff --dir desk");
    assert!(said(&output).contains("pipe is no regular file"), "{}", said(&output));
    fs::remove_file(pipe).unwrap();
    fs::write(&draft, "{}").unwrap();
    scene.refuses("diff --dir desk", "is not one of ours: it has no 'signed'");
    fs::remove_file(&draft).unwrap();
    scene.does("discard --dir desk");
    scene.does("publish --dir desk --key on.pem");
}

#[test]
fn signs_with_a_token_and_with_a_program() {
    let scene = Scene::new();
    let tokens = scene.path("tokens");
    fs::create_dir(&tokens).unwrap();
    let conf = scene.path("softhsm2.conf");
    fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
    let module = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
    let module = module.into_iter().find(|path| Path::new(path).exists());
    let module = module.expect("this test needs SoftHSM and OpenSC: 'apt-get install softhsm2 opensc'");
    let uri =
        |id: u8, name: &str| format!("'pkcs11:token=desk;id=%0{id};object={name}?module-path={module}&pin-source=pin'");
    let (ecdsa, rsa, ed25519) = (uri(1, "root"), uri(2, "off"), uri(3, "ed25519"));
    let script = format!(
        "export SOFTHSM2_CONF={conf}
         softhsm2-util --init-token --free --label desk --pin 1234 --so-pin 5678
         make() {{ pkcs11-tool --module {module} --token-label desk --login --pin 1234 --keypairgen --usage-sign \"$@\"; }}
         make --key-type EC:prime256v1 --id 01
         make --key-type rsa:2048 --id 02
         make --key-type EC:edwards25519 --id 03
         printf 1234 > pin
         openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out on.pem
         openssl pkey -in on.pem -pubout -out on.pub
         printf '#!/bin/sh\\ntest $ROCKETCTL_SCHEME = rsassa-pss-sha256 && exec openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sign on.pem\\n' > program
         chmod +x program
         rocketctl release init --dir desk --root-key {ecdsa} --targets-key {rsa} --snapshot-key on.pub --timestamp-key exec:program,on.pub
         rocketctl release sign --dir desk --key {ecdsa} --key {rsa} --yes
         rocketctl release publish --dir desk --key exec:program,on.pub --to dir:out
         ! rocketctl release rotate-keys --dir desk --role root --add {ed25519}",
        conf = conf.display()
    );
    let output = scene.sh(&script);
    assert!(output.status.success(), "{}", said(&output));
    for line in ["Signed root with root.", "Signed targets with off."] {
        assert!(said(&output).contains(line), "{}", said(&output));
    }
    assert!(said(&output).contains("no more than 1 KiB"), "{}", said(&output));
    assert_eq!(scene.timestamp("dir:out"), 1);
    scene.refuses("publish --dir desk --key exec:program", "is not exec:<PROGRAM>,<PUBLIC KEY>");
    scene.refuses("publish --dir desk --key exec:none,on.pub", "starting ./none");
    fs::write(scene.path("program"), "#!/bin/sh\necho no\n").unwrap();
    scene.refuses("publish --dir desk --key exec:program,on.pub", "is not a signature by its public key");
    scene.refuses("publish --dir desk --key pkcs11:token=desk", "names no key");
}

#[test]
fn publishes_nothing_over_what_is_newer_or_anothers() {
    let scene = Scene::begun();
    let copy = scene.sh("cp -r desk stale");
    assert!(copy.status.success());
    scene.does("publish --dir desk --key on.pem --to dir:out");
    scene.refuses(
        "publish --dir stale --key on.pem --to dir:out",
        "the destination has timestamp version 2, and this directory published 1",
    );
    // Behind, or lost: what is published is all that is needed.
    let copied = scene
        .sh("cp -r out/metadata out/targets stale/ && mkdir lost && cp -r out/* lost && touch lost/publisher.toml");
    assert!(copied.status.success(), "{}", said(&copied));
    for directory in ["stale", "lost"] {
        scene.does(&format!("publish --dir {directory} --key on.pem --to dir:copy-of-{directory}"));
        assert_eq!(scene.timestamp(&format!("dir:copy-of-{directory}")), 3);
    }
    let other = Scene::begun();
    let theirs = other.path("out");
    scene.refuses(
        &format!("publish --dir desk --key on.pem --to dir:{}", theirs.display()),
        "the destination is not what",
    );
    // A copy that lags is brought up to date.
    scene.does("publish --dir desk --key on.pem");
    scene.does("publish --dir desk --key on.pem --to dir:out --to dir:new/place");
    assert_eq!((scene.timestamp("dir:out"), scene.timestamp("dir:new/place")), (4, 4));
}

/// Stops `publish` at each renaming and removing, one after the other: readers see what was there before or all that is
/// new, and the next one finishes.
#[test]
fn whoever_kills_it_leaves_something_whole() {
    let scene = Scene::begun();
    for turn in 1..40 {
        let policy = format!("[default]\naccept = 'nothing' # {turn}\n");
        fs::write(scene.path("policy.toml"), policy).unwrap();
        scene.does("policy --dir desk policy.toml");
        scene.does("sign --dir desk --key off.pem --yes");
        let before = scene.timestamp("dir:out");
        let calls = "rename,renameat,renameat2,unlink,unlinkat";
        let output = scene
            .command("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:signal=KILL:when={turn}"), "rocketctl", "release", "publish"])
            .args(["--dir", "desk", "--key", "on.pem", "--to", "dir:out"])
            .output()
            .expect("this test needs the program strace: 'apt-get install strace'");
        let (own, out) = (scene.timestamp("dir:desk"), scene.timestamp("dir:out"));
        if output.status.success() {
            assert!(turn > 8, "only {turn} calls: {}", said(&output));
            return;
        }
        assert!(out == before || out == own, "{turn}: {before} {own} {out}");
        scene.does("publish --dir desk --key on.pem --to dir:out");
        let diff = scene.does("diff --dir desk");
        assert!(diff.contains("Nothing is drafted."), "{turn}: {diff}");
        assert_eq!(scene.timestamp("dir:out"), scene.timestamp("dir:desk"));
        let unfinished = scene.files().keys().filter(|path| path.to_string_lossy().contains("unfinished")).count();
        assert!(unfinished <= turn, "{turn}");
    }
    panic!("it never came through");
}

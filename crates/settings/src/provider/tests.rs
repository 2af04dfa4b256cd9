use std::{collections::BTreeMap, fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{Layers, SetBy, Tree, userdata::INCLUDE_DEPTH};

const HOSTNAME: &str = "[settings.network]\nhostname = 'a'\n";

/// A machine whose files are in a folder, and whose disks are files by their names.
struct Folder {
    root: TempDir,
    disks: BTreeMap<String, Vec<u8>>,
    looks: usize,
}

impl Folder {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), disks: BTreeMap::new(), looks: 0 }
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path: PathBuf = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn disk(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        self.looks += 1;
        match self.disks.get(name).map(Vec::as_slice) {
            Some(b"broken") => Err("the disk does not answer".to_owned()),
            other => Ok(other.map(<[u8]>::to_vec)),
        }
    }
}

impl Machine for Folder {
    fn root(&self) -> &Path {
        self.root.path()
    }

    fn on_esp(&mut self, path: &str, most: usize) -> Result<Option<Vec<u8>>, String> {
        assert_eq!((path, most), ("EFI/rocketos/user-data.toml", DOCUMENT_BYTES));
        self.disk("esp")
    }

    fn on_labelled(&mut self, label: &str, name: &str, most: usize) -> Result<Option<Vec<u8>>, String> {
        assert_eq!((label, name, most), ("cidata", "user-data", DOCUMENT_BYTES));
        self.disk("cidata")
    }
}

/// A web that has these answers, each as often as it is asked, and remembers what it was asked.
#[derive(Default)]
struct Answers {
    of: BTreeMap<String, (u16, Vec<u8>)>,
    asked: Vec<String>,
}

impl Answers {
    fn with(mut self, url: &str, status: u16, bytes: impl AsRef<[u8]>) -> Self {
        self.of.insert(url.to_owned(), (status, bytes.as_ref().to_vec()));
        self
    }
}

impl Web for Answers {
    fn ask(&mut self, request: &Request<'_>) -> Result<Answer, String> {
        let Request { method, url, header, way, .. } = request;
        self.asked.push(format!("{method:?} {url} {header:?} {way:?}"));
        let (status, bytes) = self.of.get(*url).ok_or("nobody answers")?;
        Ok(Answer { status: *status, bytes: bytes.clone() })
    }
}

fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn image(value: serde_json::Value) -> Layers {
    let mut layers = Layers::default();
    layers.add(&Tree::from_value(value).unwrap(), |_| SetBy::File { path: "/usr/lib/a.toml".into() });
    layers
}

fn early(machine: &mut Folder, stored: &Content) -> Taken {
    let handed = collect(machine, None, stored, None);
    take(stored, &Layers::default(), handed)
}

fn late(machine: &mut Folder, web: &mut Answers, stored: &Content) -> Taken {
    let handed = collect(machine, Some(web), stored, None);
    take(stored, &Layers::default(), handed)
}

/// Value and origin of a key.
fn of(content: &Content, key: &str) -> Option<(serde_json::Value, String)> {
    let mut layers = Layers::default();
    content.add_to(&mut layers);
    let effective = layers.resolve().unwrap();
    let key = key.parse().unwrap();
    Some((effective.tree.get(&key)?.clone(), effective.set_by[&key].to_string()))
}

fn told(taken: &Taken) -> String {
    let each = |refused: &Refused| refused.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    taken.refused.iter().map(each).collect::<Vec<_>>().join("\n")
}

/// A structure of SMBIOS.
fn structure(kind: u8, fields: &[u8], strings: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![kind, u8::try_from(4 + fields.len()).unwrap(), 0x12, 0x34];
    bytes.extend(fields);
    strings.iter().for_each(|string| bytes.extend([string, b"\0".as_slice()].concat()));
    bytes.extend(if strings.is_empty() { b"\0\0".as_slice() } else { b"\0" });
    bytes
}

/// As QEMU writes it: the firmware's structure, the processor's without strings, ours, the end.
fn table(strings: &[&[u8]]) -> Vec<u8> {
    let count = u8::try_from(strings.len()).unwrap();
    [structure(0, &[1, 2, 0, 0xe8], &[b"EDK II", b"2025.02"]), structure(32, &[0; 7], &[])]
        .into_iter()
        .chain([structure(11, &[count], strings), structure(127, &[], &[]), structure(11, &[1], &[b"behind"])])
        .flatten()
        .collect()
}

#[test]
fn providers_are_asked_in_the_order_of_their_numbers() {
    assert!(ALL.windows(2).all(|pair| pair[0].order < pair[1].order));
    let names: Vec<_> = ALL.iter().map(|provider| (provider.order, provider.name)).collect();
    let expected = [(10, "image"), (20, "esp"), (30, "nocloud"), (40, "credentials"), (50, "ec2"), (60, "url")];
    assert_eq!(names, expected);
    assert!(place("image") < place("url") && place("url") < place("of a later system"));
}

#[test]
fn a_machine_without_any_stores_nothing_and_asks_nobody() {
    let mut machine = Folder::new();
    machine.write("sys/class/dmi/id/sys_vendor", "QEMU\n");
    machine.write("proc/cmdline", "quiet console=ttyS0\n");
    let mut web = Answers::default();
    let taken = late(&mut machine, &mut web, &Content::default());
    let nothing = Taken { content: Content::default(), changed: Vec::new(), refused: Vec::new(), waiting: Vec::new() };
    assert_eq!((taken, web.asked.len()), (nothing.clone(), 0));
    assert_eq!(early(&mut machine, &Content::default()), nothing);
}

#[test]
fn all_count_together_a_later_one_over_an_earlier_one() {
    let mut machine = Folder::new();
    machine.write(
        "usr/lib/rocketos/user-data.toml",
        "[settings]\nmotd = 'image'\n[settings.network]\nhostname = 'image'\n",
    );
    machine
        .disks
        .insert("esp".to_owned(), b"[settings]\nmotd = 'esp'\n[settings.dns]\nname-servers = ['10.0.0.1']\n".to_vec());
    machine.disks.insert("cidata".to_owned(), b"[settings]\n\n\nmotd = 'nocloud'\n".to_vec());
    let taken = early(&mut machine, &Content::default());
    assert_eq!((taken.changed.as_slice(), taken.refused.len()), (["image", "esp", "nocloud"].as_slice(), 0));
    let content = taken.content;
    let expected = (json!("nocloud"), "line 4 of the user data (nocloud)".to_owned());
    assert_eq!(of(&content, "motd"), Some(expected));
    assert_eq!(of(&content, "network.hostname").unwrap().1, "line 4 of the user data (image)");
    assert_eq!(of(&content, "dns.name-servers").unwrap().1, "line 4 of the user data (esp)");
    // The same once more is no change; one gone, and the next one shows.
    let again = early(&mut machine, &content);
    assert_eq!((again.changed.len(), &again.content), (0, &content));
    fs::remove_file(machine.root.path().join("usr/lib/rocketos/user-data.toml")).unwrap();
    let without = early(&mut machine, &content);
    assert_eq!(without.changed, ["image"]);
    assert_eq!(of(&without.content, "network.hostname"), None);
    assert_eq!(of(&without.content, "motd"), of(&content, "motd"));
}

#[test]
fn what_counts_once_is_not_asked_again_and_what_counts_always_is() {
    let mut machine = Folder::new();
    machine.disks.insert("cidata".to_owned(), b"[settings]\nmotd = 'first'\n".to_vec());
    let first = early(&mut machine, &Content::default()).content;
    machine.disks.insert("cidata".to_owned(), b"[settings]\nmotd = 'second'\n".to_vec());
    machine.looks = 0;
    let second = early(&mut machine, &first);
    // The ESP alone.
    assert_eq!((machine.looks, second.changed.len(), &second.content), (1, 0, &first));
    machine.disks.clear();
    assert_eq!(early(&mut machine, &first).content, first, "it stays when its disk is taken away");
    machine.disks.insert("esp".to_owned(), b"[settings]\nmotd = 'esp'\n".to_vec());
    let esp = early(&mut machine, &Content::default());
    machine.disks.insert("esp".to_owned(), b"[settings]\nmotd = 'esp now'\n".to_vec());
    let now = early(&mut machine, &esp.content);
    assert_eq!((now.changed.as_slice(), of(&now.content, "motd").unwrap().0), (["esp"].as_slice(), json!("esp now")));
    machine.disks.clear();
    let gone = early(&mut machine, &now.content);
    assert_eq!((gone.content.user_data.len(), of(&gone.content, "motd")), (0, None));
    assert!(gone.content.revision > now.content.revision);
}

#[test]
fn a_broken_document_is_refused_by_name_and_line_and_what_was_there_stays() {
    let mut machine = Folder::new();
    machine.disks.insert("esp".to_owned(), HOSTNAME.into());
    let before = early(&mut machine, &Content::default()).content;
    for (bytes, says) in [
        (b"[settings]\nmotd = \n".as_slice(), "the user data (esp): line 2, column 8: "),
        (b"[settings]\n\nmotdd = 'a'\n", "motdd, set by line 3 of the user data (esp): "),
        (b"[settings]\nmotd = 1\n", "motd, set by line 2 of the user data (esp): "),
        (
            b"[settings.raw.'sysctl.d/a.conf']\ncontent = 'x'\n",
            "set by line 2 of the user data (esp): user data configures",
        ),
        (b"#cloud-config\n", "the user data (esp): user data begins with '#cloud-config'"),
        (b"\x1f\x8bbroken", "the user data (esp): user data begins as gzip"),
        (b"broken", "the user data (esp): the disk does not answer"),
    ] {
        machine.disks.insert("esp".to_owned(), bytes.to_vec());
        machine.disks.insert("cidata".to_owned(), b"[settings]\nmotd = 'nocloud'\n".to_vec());
        let taken = early(&mut machine, &before);
        assert!(told(&taken).contains(says), "{says}: {}", told(&taken));
        assert_eq!(taken.refused[0].provider, "esp");
        // The others count, and so does what it said before.
        assert_eq!(
            (taken.changed.as_slice(), of(&taken.content, "motd").unwrap().0),
            (["nocloud"].as_slice(), json!("nocloud"))
        );
        assert_eq!(of(&taken.content, "network.hostname").unwrap().0, json!("a"));
        // A node that had nothing has the others'.
        let first = early(&mut machine, &Content::default());
        assert_eq!((first.changed.as_slice(), first.refused.len()), (["nocloud"].as_slice(), 1));
    }
}

#[test]
fn what_an_operator_set_is_not_undone_by_a_document_that_contradicts_it() {
    let mut machine = Folder::new();
    let mut stored = Content::default();
    let key = "network.interfaces.eth0.dhcp4".parse().unwrap();
    stored.set(&key, json!(true), "uid 0", chrono::DateTime::UNIX_EPOCH).unwrap();
    machine.disks.insert("esp".to_owned(), b"[settings.network]\ninterfaces = 5\n".to_vec());
    let taken = early(&mut machine, &stored);
    assert_eq!((taken.changed.len(), &taken.content), (0, &stored));
    assert!(told(&taken).contains("(esp)"), "{}", told(&taken));
}

#[test]
fn documents_that_need_each_other_are_taken_together() {
    let bond = "[settings.network.interfaces.bond0]\nbond = { interfaces = ['eth0'] }\n";
    let port = "[settings.network.interfaces.eth0]\nmtu = 1500\n";
    let mut machine = Folder::new();
    machine.disks.insert("esp".to_owned(), bond.into());
    let alone = early(&mut machine, &Content::default());
    assert_eq!((alone.changed.len(), alone.refused.len()), (0, 1), "{}", told(&alone));
    machine.disks.insert("cidata".to_owned(), port.into());
    let both = early(&mut machine, &Content::default());
    assert_eq!((both.changed.as_slice(), told(&both).as_str()), (["esp", "nocloud"].as_slice(), ""));
}

#[test]
fn an_image_whose_own_settings_are_wrong_is_not_the_documents_fault() {
    let mut machine = Folder::new();
    machine.disks.insert("esp".to_owned(), HOSTNAME.into());
    let handed = collect(&mut machine, None, &Content::default(), None);
    let taken = take(&Content::default(), &image(json!({"motd": 1})), handed);
    assert_eq!((taken.changed.as_slice(), taken.refused.len()), (["esp"].as_slice(), 0));
}

#[test]
fn a_hypervisor_hands_it_in_by_fw_cfg_or_smbios_and_not_twice() {
    let text = b"[settings]\nmotd = 'hypervisor'\n";
    let plain = [b"io.systemd.credential:rocketos.user-data=".as_slice(), text].concat();
    let packed = format!("io.systemd.credential.binary:rocketos.user-data={}", STANDARD.encode(text));
    let others: [&[u8]; 4] = [
        b"io.systemd.credential:rocketos.user-data2=x",
        b"io.systemd.credential:systemd.extra-unit.a.service=x",
        b"io.systemd.stub.kernel-cmdline-extra=a",
        b"rocketos.user-data=x",
    ];
    for one in [plain.as_slice(), packed.as_bytes()] {
        let mut machine = Folder::new();
        machine.write(credentials::TABLE, table(&[others[0], others[1], one, others[2], others[3]]));
        let taken = early(&mut machine, &Content::default());
        assert_eq!((taken.changed.as_slice(), told(&taken).as_str()), (["credentials"].as_slice(), ""));
        let expected = (json!("hypervisor"), "line 2 of the user data (credentials)".to_owned());
        assert_eq!(of(&taken.content, "motd"), Some(expected));
        machine.write(credentials::FW_CFG, text);
        let twice = early(&mut machine, &Content::default());
        assert!(told(&twice).contains("is handed in more than once"), "{}", told(&twice));
        machine.write(credentials::TABLE, table(&others));
        assert_eq!(early(&mut machine, &Content::default()).content, taken.content);
    }
    let mut machine = Folder::new();
    machine.write(credentials::TABLE, table(&[b"io.systemd.credential.binary:rocketos.user-data=%"]));
    assert!(told(&early(&mut machine, &Content::default())).contains("is no base64"));
    machine.write(credentials::TABLE, table(&others));
    machine.write(credentials::FW_CFG, vec![b'#'; DOCUMENT_BYTES + 1]);
    assert!(told(&early(&mut machine, &Content::default())).contains("has more than 1048576 bytes"));
}

#[test]
fn a_damaged_table_ends_where_it_is_damaged() {
    let whole = table(&[b"one", b"two"]);
    assert_eq!(smbios::oem_strings(&whole), [b"one", b"two"]);
    for length in 0..whole.len() {
        let strings = smbios::oem_strings(&whole[..length]);
        assert!(strings.is_empty() || strings == [b"one", b"two"], "{length}: {strings:?}");
    }
    for damaged in [
        &[11, 3, 0, 0, 0, 0][..],
        &[11, 0, 0, 0],
        &[11, 2, b'a', 0, 0, 0],
        &[11, 255, 0, 0, 1],
        &[11, 5, 0, 0, 1, b'a'],
    ] {
        assert!(smbios::oem_strings(damaged).is_empty(), "{damaged:?}");
    }
}

#[test]
fn a_document_at_an_address_waits_for_the_network_and_is_fetched_once() {
    let text = "[settings]\nmotd = 'url'\n";
    let mut machine = Folder::new();
    let cmdline =
        |url: &str, hash: &str| format!("quiet rocketos.user_data_url={url} rocketos.user-data-sha256={hash}\n");
    machine.write("proc/cmdline", cmdline("https://a.example/b", &sha256(text)));
    assert_eq!(early(&mut machine, &Content::default()).waiting, ["url"]);
    let mut web = Answers::default().with("https://a.example/b", 200, text);
    let taken = late(&mut machine, &mut web, &Content::default());
    assert_eq!(of(&taken.content, "motd").unwrap().1, "line 2 of the user data (url)");
    assert_eq!(web.asked, ["Get https://a.example/b None Web"]);
    let again = early(&mut machine, &taken.content);
    assert_eq!((again.waiting.len(), again.changed.len()), (0, 0));
    // Another is fetched, and what is remembered counts until it is there.
    let newer = "[settings]\nmotd = 'newer'\n";
    machine.write("proc/cmdline", cmdline("https://a.example/b", &sha256(newer)));
    let waits = early(&mut machine, &taken.content);
    assert_eq!((waits.waiting.as_slice(), &waits.content), (["url"].as_slice(), &taken.content));
    let wrong = late(&mut machine, &mut web, &taken.content);
    assert!(told(&wrong).contains("(url): https://a.example/b: its SHA-256 is "), "{}", told(&wrong));
    assert_eq!(wrong.content, taken.content);
    let missing = late(&mut machine, &mut Answers::default().with("https://a.example/b", 404, ""), &taken.content);
    assert!(told(&missing).contains("status 404"), "{}", told(&missing));
    machine.write("proc/cmdline", "quiet\n");
    assert!(early(&mut machine, &taken.content).content.user_data.is_empty());
}

#[test]
fn a_command_line_that_is_half_or_wrong_is_told() {
    let hash = sha256("");
    for (line, says) in [
        ("rocketos.user-data-url=https://a.example".to_owned(), "and no rocketos.user-data-sha256="),
        (format!("rocketos.user-data-sha256={hash}"), "and no rocketos.user-data-url="),
        (format!("rocketos.user-data-url=ftp://a rocketos.user-data-sha256={hash}"), "rocketos.user-data-url: "),
        ("rocketos.user-data-url=https://a.example rocketos.user-data-sha256=AB".to_owned(), "64 lower-case"),
        ("rocketos.user-data-url=https://a rocketos.user_data_url=https://b".to_owned(), "more than once"),
        ("rocketos.user-data-metadata=file:///etc/shadow".to_owned(), "rocketos.user-data-metadata: "),
    ] {
        let mut machine = Folder::new();
        machine.write("proc/cmdline", &line);
        let taken = early(&mut machine, &Content::default());
        assert!(taken.waiting.is_empty() && told(&taken).contains(says), "{line}: {}", told(&taken));
    }
}

#[test]
fn a_metadata_service_is_asked_where_there_is_one_with_its_token() {
    let (token, data) = ("http://169.254.169.254/latest/api/token", "http://169.254.169.254/latest/user-data");
    let text = "[settings]\nmotd = 'ec2'\n";
    let mut machine = Folder::new();
    machine.write("sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
    assert_eq!(early(&mut machine, &Content::default()).waiting, ["ec2"]);
    let mut web = Answers::default().with(token, 200, "AQAEA==").with(data, 200, text);
    let taken = late(&mut machine, &mut web, &Content::default());
    assert_eq!(of(&taken.content, "motd").unwrap().1, "line 2 of the user data (ec2)");
    let expected = [
        format!("Put {token} Some((\"x-aws-ec2-metadata-token-ttl-seconds\", \"300\")) Platform"),
        format!("Get {data} Some((\"x-aws-ec2-metadata-token\", \"AQAEA==\")) Platform"),
    ];
    assert_eq!(web.asked, expected);
    assert!(early(&mut machine, &taken.content).waiting.is_empty(), "it counts once");
    // Services that know no tokens, that have nothing, and that are broken.
    let none =
        late(&mut machine, &mut Answers::default().with(token, 404, "").with(data, 200, text), &Content::default());
    assert_eq!(none.content, taken.content);
    let nothing =
        late(&mut machine, &mut Answers::default().with(token, 200, "a").with(data, 404, ""), &Content::default());
    assert!(early(&mut machine, &nothing.content).waiting.is_empty() && nothing.content.user_data[0].tree.is_empty());
    for (status, body, of_data, says) in [
        (200, "a\r\nx: y", 200, "no token"),
        (200, "", 200, "no token"),
        (200, "a", 401, "status 401"),
        (403, "", 200, "status 403"),
    ] {
        let mut web = Answers::default().with(token, status, body).with(data, of_data, text);
        let taken = late(&mut machine, &mut web, &Content::default());
        assert!(told(&taken).contains(says) && taken.changed.is_empty(), "{}", told(&taken));
    }
    machine.write("sys/class/dmi/id/sys_vendor", "QEMU\n");
    machine.write("proc/cmdline", "rocketos.user-data-metadata=http://10.0.2.2:8000\n");
    let mut web = Answers::default().with("http://10.0.2.2:8000/latest/api/token", 200, "a").with(
        "http://10.0.2.2:8000/latest/user-data",
        200,
        text,
    );
    assert_eq!(late(&mut machine, &mut web, &Content::default()).changed, ["ec2"]);
}

#[test]
fn what_is_included_waits_for_the_network_and_lies_below() {
    let inner = "[settings]\nmotd = 'inner'\n[settings.network]\nhostname = 'inner'\n";
    let outer = format!(
        "include = [{{ url = 'https://a.example/i', sha256 = '{}' }}]\n[settings]\nmotd = 'outer'\n",
        sha256(inner)
    );
    let mut machine = Folder::new();
    machine.disks.insert("cidata".to_owned(), outer.clone().into_bytes());
    machine.disks.insert("esp".to_owned(), b"[settings]\n[settings.dns]\nsearch-list = ['a']\n".to_vec());
    let first = early(&mut machine, &Content::default());
    assert_eq!((first.waiting.as_slice(), first.changed.as_slice()), (["nocloud"].as_slice(), ["esp"].as_slice()));
    let mut web = Answers::default().with("https://a.example/i", 200, inner);
    let waiting: Vec<String> = first.waiting.iter().map(ToString::to_string).collect();
    machine.looks = 0;
    let handed = collect(&mut machine, Some(&mut web), &first.content, Some(&waiting));
    assert_eq!(machine.looks, 1, "who does not wait is not asked again");
    let second = take(&first.content, &Layers::default(), handed);
    assert_eq!(of(&second.content, "motd").unwrap().1, "line 3 of the user data (nocloud)");
    assert_eq!(of(&second.content, "network.hostname").unwrap().0, json!("inner"));
    assert_eq!(of(&second.content, "dns.search-list").unwrap().0, json!(["a"]));
    // Another document than its hash, and nobody there.
    let mut liar = Answers::default().with("https://a.example/i", 200, "[settings]\nmotd = 'x'\n");
    let lied = late(&mut machine, &mut liar, &first.content);
    assert!(told(&lied).contains("(nocloud): https://a.example/i, included: its SHA-256 is"), "{}", told(&lied));
    let silent = late(&mut machine, &mut Answers::default(), &first.content);
    assert!(told(&silent).contains("it cannot be fetched: nobody answers"), "{}", told(&silent));
}

#[test]
fn includes_that_lead_back_or_on_without_end_are_refused() {
    // None can have its own hash in it: whoever writes a cycle has to guess one, and that is found out.
    let mut web = Answers::default();
    let (mut url, mut hash) = ("https://a.example/0".to_owned(), sha256("guessed"));
    for at in 0..=INCLUDE_DEPTH {
        let text = format!("include = [{{ url = '{url}', sha256 = '{hash}' }}]\n");
        (url, hash) = (format!("https://a.example/{at}"), sha256(&text));
        web = web.with(&url, 200, text);
    }
    let mut machine = Folder::new();
    let outer = format!("include = [{{ url = '{url}', sha256 = '{hash}' }}]\n");
    machine.disks.insert("esp".to_owned(), outer.into_bytes());
    let deep = late(&mut machine, &mut web, &Content::default());
    assert!(told(&deep).contains("more than 16 documents, or more than 4 deep"), "{}", told(&deep));
    let cycle = format!("include = [{{ url = 'https://a.example/c', sha256 = '{}' }}]\n", sha256("guessed"));
    let mut web = Answers::default().with("https://a.example/c", 200, &cycle);
    machine.disks.insert("esp".to_owned(), cycle.into_bytes());
    let round = late(&mut machine, &mut web, &Content::default());
    assert!(told(&round).contains("its SHA-256 is") && web.asked.len() == 1, "{}", told(&round));
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let mut machine = Folder::new();
    machine.write("usr/lib/rocketos/user-data.toml", vec![b'#'; DOCUMENT_BYTES + 1]);
    let taken = early(&mut machine, &Content::default());
    assert!(told(&taken).contains("/user-data.toml has more than 1048576 bytes"), "{}", told(&taken));
    assert_eq!(taken.refused[0].provider, "image");
}

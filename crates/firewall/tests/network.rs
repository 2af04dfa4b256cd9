//! The script in a kernel: a node, a stranger on its network and a container, each a network namespace with real sockets.
//!
//! The test starts itself again in a namespace of its own, as root of it, so that nothing of the host changes. What netavark does
//! for a published port stands here as the rules it writes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rocketos_firewall::load;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Set in the namespace.
const INSIDE: &str = "ROCKETOS_FIREWALL_TEST_INSIDE";
/// How long nothing may come before it counts as dropped.
const PATIENCE: Duration = Duration::from_millis(700);
/// How often the links are tried before they count as down.
const ATTEMPTS: usize = 20;

const NODE: &str = "192.0.2.1";
const NODE_V6: &str = "[fd00:1::1]";
const STRANGER: &str = "192.0.2.2";
const NEIGHBOUR: &str = "192.0.2.3";
const BRIDGE: &str = "10.88.0.1";
const CONTAINER: &str = "10.88.0.2";

/// A network namespace, as long as a process is in it.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let words = ["--net", "cat"];
        let mut child =
            Command::new("unshare").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // What comes back was said inside.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    /// Does something inside, on a thread of its own.
    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(line: &str) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn nft(script: &str) {
    let mut child = Command::new("nft").args(["--file", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "nft takes no:\n{script}");
}

/// True where a connection comes about; false where nobody answers. Somebody who refuses was reached.
fn reaches(host: &str, port: u16) -> bool {
    let address: SocketAddr = format!("{host}:{port}").parse().unwrap();
    match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => true,
        Err(error) if error.kind() == ErrorKind::TimedOut => false,
        Err(error) => panic!("connecting to {address}: {error}"),
    }
}

/// True where what is sent to the node from one address arrives.
fn arrives(at: &UdpSocket, stranger: &Namespace, from: &str, to: &str) -> bool {
    let (from, to) = (format!("{from}:0"), format!("{to}:{}", at.local_addr().unwrap().port()));
    stranger.within(|| UdpSocket::bind(from).unwrap().send_to(b"?", to).unwrap());
    at.set_read_timeout(Some(PATIENCE)).unwrap();
    at.recv_from(&mut [0; 8]).is_ok()
}

struct Network {
    stranger: Namespace,
    container: Namespace,
    declarations: tempfile::TempDir,
}

impl Network {
    fn new() -> Self {
        let (stranger, container) = (Namespace::new(), Namespace::new());
        run("ip link set lo up");
        for (ours, theirs, namespace) in [("eth0", "far", &stranger), ("podman0", "pod", &container)] {
            run(&format!("ip link add {ours} type veth peer name {theirs} netns {}", namespace.0.id()));
        }
        for line in [
            format!("ip address add {NODE}/24 dev eth0"),
            "ip address add fd00:1::1/64 dev eth0 nodad".to_owned(),
            format!("ip address add {BRIDGE}/16 dev podman0"),
            "ip link set eth0 up".to_owned(),
            "ip link set podman0 up".to_owned(),
        ] {
            run(&line);
        }
        stranger.within(|| {
            run(&format!("ip address add {STRANGER}/24 dev far"));
            run(&format!("ip address add {NEIGHBOUR}/24 dev far"));
            run("ip address add fd00:1::2/64 dev far nodad");
            run("ip link set far up");
        });
        container.within(|| {
            run(&format!("ip address add {CONTAINER}/16 dev pod"));
            run("ip link set pod up");
            run(&format!("ip route add default via {BRIDGE}"));
        });
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let network = Self { stranger, container, declarations: tempfile::tempdir().unwrap() };
        // Links take a moment. Nothing is loaded yet: what does not come later is stopped by what is.
        let is_up = || network.stranger_reaches(NODE, 1) && network.container.within(|| reaches(BRIDGE, 1));
        assert!((0..ATTEMPTS).any(|_| is_up()), "the links stay down");
        network
    }

    /// Declares, and loads what is declared by now.
    fn load(&self, text: &str) {
        let folder = self.declarations.path().join("etc/rocketos/firewall.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("test.toml"), text).unwrap();
        let declared = load(self.declarations.path()).unwrap();
        assert!(declared.broken.is_empty(), "{:?}", declared.broken);
        nft(&declared.script());
    }

    fn stranger_reaches(&self, host: &str, port: u16) -> bool {
        self.stranger.within(|| reaches(host, port))
    }
}

/// Runs the test again in namespaces of its own; true where this is that run.
fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    // Of the kernel's settings, those of the namespace's network are seen in its own /proc alone.
    let itself = std::env::current_exe().unwrap();
    unshare.args(["--net", "--mount", "--pid", "--fork", "--mount-proc"]).arg(itself);
    let output = unshare.args(["--exact", name, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    false
}

#[test]
fn lets_in_what_is_declared_and_nothing_else() {
    if !is_inside("lets_in_what_is_declared_and_nothing_else") {
        return;
    }
    let network = Network::new();
    let _listeners = [22, 80, 53].map(|port| TcpListener::bind(("::", port)).unwrap());
    let udp = UdpSocket::bind("0.0.0.0:9000").unwrap();
    // Before it is loaded all is open: what is closed below is closed by it.
    assert!([22, 80, 53].into_iter().all(|port| network.stranger_reaches(NODE, port)));
    assert!(arrives(&udp, &network.stranger, STRANGER, NODE));
    network.stranger.within(|| run("ip -6 neighbour flush all"));

    network.load("");
    for port in [22, 80, 53] {
        assert!(!network.stranger_reaches(NODE, port), "port {port} is open");
        assert!(!network.stranger_reaches(NODE_V6, port), "port {port} is open by IPv6");
    }
    assert!(!arrives(&udp, &network.stranger, STRANGER, NODE));
    // The node itself, and what answers it.
    assert!(reaches("127.0.0.1", 22) && reaches(NODE, 22));
    let _far = network.stranger.within(|| TcpListener::bind((STRANGER, 8000)).unwrap());
    assert!(reaches(STRANGER, 8000));
    // Names of containers, which are for containers alone.
    assert!(network.container.within(|| reaches(BRIDGE, 53)));
    assert!(!network.container.within(|| reaches(BRIDGE, 22)));

    let open = "[[open]]\nprotocol = 'tcp'\nport = 80\nreason = 'web'\n";
    let from =
        format!("[[open]]\nprotocol = 'udp'\nport = '9000-9001'\nfrom = ['{STRANGER}', 'fd00::/8']\nreason = 'a'\n");
    let by = "[[open]]\nprotocol = 'tcp'\nport = 22\ninterface = 'eth*'\nreason = 'b'\n";
    network.load(&format!("{open}{from}{by}"));
    assert!(network.stranger_reaches(NODE, 80) && network.stranger_reaches(NODE_V6, 80));
    assert!(network.container.within(|| reaches(BRIDGE, 80)));
    assert!(arrives(&udp, &network.stranger, STRANGER, NODE));
    assert!(!arrives(&udp, &network.stranger, NEIGHBOUR, NODE), "another address is let in");
    assert!(network.stranger_reaches(NODE, 22));
    assert!(!network.container.within(|| reaches(BRIDGE, 22)), "another interface is let in");

    // What is declared no more is closed again.
    network.load(open);
    assert!(network.stranger_reaches(NODE, 80) && !network.stranger_reaches(NODE, 22));
}

#[test]
fn published_ports_of_containers_work() {
    if !is_inside("published_ports_of_containers_work") {
        return;
    }
    let network = Network::new();
    let _web = network.container.within(|| TcpListener::bind((CONTAINER, 80)).unwrap());
    // The port on the node is nobody's: only what is sent on can be reached.
    network.load("");
    assert!(!network.stranger_reaches(NODE, 8080));
    nft(&format!(
        "table inet netavark {{\n\
         chain PREROUTING {{\ntype nat hook prerouting priority dstnat;\n\
         fib daddr type local ip daddr {NODE} tcp dport 8080 dnat ip to {CONTAINER}:80\n}}\n\
         chain FORWARD {{\ntype filter hook forward priority filter; policy accept;\n\
         ip daddr 10.88.0.0/16 ct state {{ established, related }} accept\n}}\n}}\n"
    ));
    assert!(network.stranger_reaches(NODE, 8080), "a published port is closed");
    assert!(!network.stranger_reaches(NODE, 80), "the container's own port is open on the node");
    // And it stays so when the firewall is loaded again.
    network.load("");
    assert!(network.stranger_reaches(NODE, 8080));
}

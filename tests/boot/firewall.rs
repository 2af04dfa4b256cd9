//! The firewall of a machine that booted by itself: closed, and open when somebody declares it.

use anyhow::{Context as _, Result, ensure};
use rocketos_tests::Guest;
use rocketos_tests::fixture::BOOT;
use serde_json::{Value, json};

/// A neighbour: a network namespace with a cable to the node, who listens on a port.
const NEIGHBOUR: &str = "ip netns add far && ip link add near type veth peer name eth0 netns far && \
                         ip address add 192.0.2.1/24 dev near && ip link set near up && \
                         ip -n far address add 192.0.2.2/24 dev eth0 && ip -n far link set eth0 up && \
                         systemd-run --quiet --unit=listener systemd-socket-activate -l 7000 --inetd -a cat && \
                         until ss -tln | grep -q :7000; do systemctl is-active --quiet listener || exit 1; done";
/// The neighbour connects to the node.
const CONNECT: &str = "ip netns exec far timeout 5 bash -c 'exec 3<>/dev/tcp/192.0.2.1/7000'";
const DECLARE: &str = "mkdir -p /etc/rocketos/firewall.d && \
                       printf '[[open]]\\nprotocol = \"tcp\"\\nport = 7000\\nfrom = [\"192.0.2.0/24\"]\\nreason = \"a test\"\\n' \
                       > /etc/rocketos/firewall.d/test.toml && systemctl reload rocketos-firewall";
const UNDO: &str = "rm /etc/rocketos/firewall.d/test.toml && systemctl reload rocketos-firewall && \
                    systemctl stop listener && ip link delete near && ip netns delete far";

fn shown(guest: &mut Guest) -> Result<Value> {
    let text = guest.ask("rocketctl firewall show --json")?;
    serde_json::from_str(&text).with_context(|| format!("parsing {text}"))
}

/// Nothing is open after a boot; what is declared is, and only as long as it is. Leaves the machine as it was.
pub fn opens_what_is_declared(guest: &mut Guest) -> Result<()> {
    ensure!(shown(guest)? == json!({ "open": [], "broken": [], "loaded": true }), "{}", shown(guest)?);
    let table = guest.ask("nft list table inet rocketos")?;
    ensure!(table.contains("hook input priority filter; policy drop;"), "the table is: {table}");
    // Loaded before systemd-networkd started.
    let when = |unit: &str, stamp: &str| format!("systemctl show --value --property={stamp}TimestampMonotonic {unit}");
    let loaded: u64 = guest.ask(&when("rocketos-firewall", "ActiveEnter"))?.parse()?;
    let network: u64 = guest.ask(&when("systemd-networkd", "InactiveExit"))?.parse()?;
    ensure!(0 < loaded && loaded <= network, "the firewall was there at {loaded} µs, the network at {network} µs");
    guest.check(NEIGHBOUR, BOOT)?;
    ensure!(!guest.run(CONNECT, BOOT)?.success(), "a port that nobody declared is open");
    guest.check(DECLARE, BOOT)?;
    guest.check(CONNECT, BOOT).context("connecting to a port that is declared")?;
    ensure!(shown(guest)?["open"][0]["declared_by"] == "/etc/rocketos/firewall.d/test.toml", "{}", shown(guest)?);
    guest.check(UNDO, BOOT)?;
    ensure!(shown(guest)?["open"] == json!([]), "{}", shown(guest)?);
    Ok(())
}

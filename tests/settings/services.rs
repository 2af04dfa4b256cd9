//! What the services of names, time and networks make of settings.

use anyhow::{Result, ensure};
use rocketos_tests::Guest;
use rocketos_tests::fixture::BOOT;

/// Servers that nothing but settings names, and nobody reaches (RFC 5737).
const NAMES: &str = "192.0.2.53";
const TIME: &str = "192.0.2.123";
/// An address beside the one that the network gives.
const ADDRESS: &str = "10.0.2.77/24";
const GIVEN: &str = "10.0.2.15/24";
const MTU: &str = "1400";

/// What says that both addresses, or the given one alone, are on an interface, until it is so.
fn has_addresses(guest: &mut Guest, interface: &str, own: bool) -> Result<()> {
    let wanted = if own { "" } else { "! " };
    let look = format!("ip -o -4 address show dev {interface}");
    let wait = format!(
        "for i in $(seq 60); do {look} | grep -q {GIVEN} && {wanted}{look} | grep -q {ADDRESS} && exit 0; sleep 1; done; \
         ip address; exit 1"
    );
    guest.check(&format!("({wait})"), BOOT).map(drop)
}

/// Each service has what settings say, and loses it with them.
pub fn are_told(guest: &mut Guest) -> Result<()> {
    let interface = guest.ask("ls /sys/class/net | grep -vx lo")?;
    ensure!(!interface.contains('\n'), "more than one interface: {interface}");
    let own = format!("network.interfaces.{interface}");
    guest.check(
        &format!(
            "rocketctl settings set 'dns.name-servers=[\"{NAMES}\"]' 'dns.search-list=[\"node.example\"]' \
             'ntp.time-servers=[\"{TIME}\"]' '{own}.addresses=[\"{ADDRESS}\"]' {own}.dhcp4=true {own}.mtu={MTU}"
        ),
        BOOT,
    )?;
    has_addresses(guest, &interface, true)?;
    let mtu = format!("cat /sys/class/net/{interface}/mtu");
    ensure!(guest.ask(&mtu)? == MTU, "its packets have {} bytes", guest.ask(&mtu)?);
    let (names, time) = ("resolvectl dns; resolvectl domain", "timedatectl show-timesync --property=SystemNTPServers");
    let said = guest.ask(names)?;
    ensure!(said.contains(NAMES) && said.contains("node.example"), "resolved has: {said}");
    let said = guest.ask(time)?;
    ensure!(said.contains(TIME), "timesyncd has: {said}");
    guest.check("rocketctl settings unset dns ntp network.interfaces", BOOT)?;
    has_addresses(guest, &interface, false)?;
    let said = guest.ask(&format!("{names}; {time}"))?;
    ensure!(!said.contains(NAMES) && !said.contains("node.example") && !said.contains(TIME), "they keep: {said}");
    Ok(())
}

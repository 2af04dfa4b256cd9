//! Connections, routes and names.

use std::{fs, io, net::SocketAddr};

use tokio::net::{TcpStream, lookup_host};

use crate::Outcome;

/// The kernel's routes (proc(5)), as the first process has them: whoever asks may have a network of its own. In the first, the second
/// field is the destination and the eighth the mask.
const ROUTES: &str = "/proc/1/net/route";
/// In this one the first field is the destination, the second its prefix, the last the interface.
const ROUTES_6: &str = "/proc/1/net/ipv6_route";
/// The interface of routes that lead nowhere.
const LOOPBACK: &str = "lo";

pub(super) async fn connect(address: SocketAddr) -> Outcome {
    match TcpStream::connect(address).await {
        Ok(_) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("{address}: {error}")),
    }
}

pub(super) async fn resolve(name: &str) -> Outcome {
    match lookup_host((name, 0)).await.map(|mut found| found.next()) {
        Ok(Some(_)) => Outcome::Passed,
        Ok(None) => Outcome::Failed(format!("'{name}' has no address")),
        Err(error) => Outcome::Failed(format!("'{name}': {error}")),
    }
}

pub(super) fn default_route() -> Outcome {
    let read = |path| match fs::read_to_string(path) {
        // A kernel without the protocol.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    };
    match read(ROUTES).and_then(|four| Ok((four, read(ROUTES_6)?))) {
        Ok((four, six)) if leads_out(&four, &six) => Outcome::Passed,
        Ok(_) => Outcome::Failed("there is no default route".to_owned()),
        Err(error) => Outcome::NotRun(format!("reading the routes: {error}")),
    }
}

fn leads_out(four: &str, six: &str) -> bool {
    let fields = |line: &'_ str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let zero =
        |field: Option<&String>| field.is_some_and(|field| !field.is_empty() && field.bytes().all(|byte| byte == b'0'));
    let by_four = four.lines().skip(1).map(fields).any(|line| zero(line.get(1)) && zero(line.get(7)));
    let by_six = six.lines().map(fields).any(|line| {
        zero(line.first())
            && line.get(1).is_some_and(|prefix| prefix == "00")
            && line.last().is_some_and(|to| to != LOOPBACK)
    });
    by_four || by_six
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";

    #[test]
    fn knows_a_default_route() {
        let default = format!("{HEAD}eth0\t00000000\t0202000A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n");
        let local = format!("{HEAD}eth0\t0002000A\t00000000\t0001\t0\t0\t1024\t00FFFFFF\t0\t0\t0\n");
        let zeros = "0".repeat(32);
        let six = |to: &str| format!("{zeros} 00 {zeros} 00 {zeros} 00000400 1 0 00000003 {to}\n");
        for (four, six, out) in [
            (default.as_str(), String::new(), true),
            (&local, String::new(), false),
            (HEAD, six("eth0"), true),
            (HEAD, six("lo"), false),
            ("", String::new(), false),
        ] {
            assert_eq!(leads_out(four, &six), out, "{four}{six}");
        }
    }
}

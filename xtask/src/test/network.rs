//! A network of its own for machines that run beside others: registries of both have one port.

use rocketos_tests::command::Run;

/// A network namespace (ip-netns(8)); it goes with this.
pub(super) struct Network {
    name: String,
}

impl Network {
    /// None where this process may make none.
    pub(super) fn new() -> Option<Self> {
        let network = Self { name: format!("rocketos-tests-{}", std::process::id()) };
        Run::new("ip").args(["netns", "add", &network.name]).quiet().ok()?;
        Run::new("ip").args(["-n", &network.name, "link", "set", "lo", "up"]).quiet().ok()?;
        Some(network)
    }

    /// What starts a program in it; the program's name is the first argument.
    pub(super) fn start(&self) -> Run {
        Run::new("nsenter").arg(format!("--net=/run/netns/{}", self.name))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Where none was made there is nothing to remove.
        let _ = Run::new("ip").args(["netns", "delete", &self.name]).quiet();
    }
}

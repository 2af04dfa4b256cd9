//! QEMU's command line for a machine.

use std::path::Path;

use super::{Accel, Machine, OnReboot, PROCESSORS, SecureBoot, Start};

/// Where the sockets and logs of one run lie.
pub(super) struct Endpoints<'a> {
    /// The folder that holds them.
    pub dir: &'a Path,
}

impl Endpoints<'_> {
    pub(super) fn console(&self) -> std::path::PathBuf {
        self.dir.join("console")
    }
    pub(super) fn console_log(&self) -> std::path::PathBuf {
        self.dir.join("console.log")
    }
    pub(super) fn shell(&self) -> std::path::PathBuf {
        self.dir.join("shell")
    }
    pub(super) fn shell_log(&self) -> std::path::PathBuf {
        self.dir.join("shell.log")
    }
    pub(super) fn qmp(&self) -> std::path::PathBuf {
        self.dir.join("qmp")
    }
}

/// Returns the arguments that say what the machine is; `variables` is the firmware's writable file.
pub(super) fn machine(machine: &Machine, variables: &Path) -> Vec<String> {
    let accel = machine.tools.accel();
    let mut args: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
    for dir in ["usr/share/qemu", "usr/share/seabios"] {
        add(&["-L", &machine.tools.file(dir).display().to_string()]);
    }
    add(&["-name", &machine.name, "-nodefaults", "-no-user-config", "-display", "none"]);
    let (board, firmware) = match machine.secure_boot {
        SecureBoot::Absent => ("q35,smm=off", "OVMF_CODE_4M.fd"),
        SecureBoot::Present => ("q35,smm=on", "OVMF_CODE_4M.secboot.fd"),
    };
    add(&["-machine", board, "-accel", accel.argument(), "-cpu", accel.processor()]);
    if machine.secure_boot == SecureBoot::Present {
        // Only the firmware's own code writes its variables; it does not survive a sleep in such a state.
        add(&["-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"]);
    }
    add(&["-smp", &PROCESSORS.to_string(), "-m", &machine.memory.to_string()]);
    add(&["-device", "virtio-rng-pci"]);
    match &machine.start {
        Start::Firmware => {
            let code = machine.tools.file(&format!("usr/share/OVMF/{firmware}"));
            add(&["-drive", &format!("if=pflash,unit=0,format=raw,readonly=on,file={}", code.display())]);
            add(&["-drive", &format!("if=pflash,unit=1,format=qcow2,cache=unsafe,file={}", variables.display())]);
        }
        Start::Kernel { kernel, initrd, cmdline } => {
            add(&["-kernel", &kernel.display().to_string(), "-append", cmdline]);
            if let Some(initrd) = initrd {
                add(&["-initrd", &initrd.display().to_string()]);
            }
        }
    }
    if machine.network {
        // No option ROM: the firmware must not try to boot from the network.
        let forwards = machine.forwards.iter().map(|(host, guest)| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"));
        let user: String = std::iter::once("user,id=net0".to_owned()).chain(forwards).collect();
        add(&["-netdev", &user, "-device", "virtio-net-pci,netdev=net0,romfile="]);
    }
    if machine.on_reboot == OnReboot::End {
        add(&["-no-reboot"]);
    }
    for (index, disk) in machine.disks.iter().enumerate() {
        args.extend(disk.arguments(index));
    }
    args.extend(machine.credentials.arguments());
    args.extend(machine.extra.iter().cloned());
    args
}

/// Returns the arguments for a machine that nobody looks at: console, shell and monitor on sockets.
pub(super) fn unattended(at: &Endpoints<'_>) -> Vec<String> {
    let socket = |id: &str, path: &Path, log: &Path| {
        let (path, log) = (path.display(), log.display());
        format!("socket,id={id},path={path},server=on,wait=off,logfile={log},logappend=on")
    };
    [
        "-chardev",
        &socket("console", &at.console(), &at.console_log()),
        "-serial",
        "chardev:console",
        "-chardev",
        &socket("shell", &at.shell(), &at.shell_log()),
        "-serial",
        "chardev:shell",
        "-qmp",
        &format!("unix:{},server=on,wait=off", at.qmp().display()),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What is emulated: what Debian takes for granted, and instructions that hash. All that QEMU knows (`max`) costs a third more of the
/// host's time for a boot: the kernel then copies by bytes (ERMS), keeps wide registers, and loads KVM's modules.
const EMULATED: &str = "qemu64,svm=off,+x2apic,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,+sha-ni";

impl Accel {
    fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=multi",
        }
    }

    fn processor(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Tcg => EMULATED,
        }
    }
}

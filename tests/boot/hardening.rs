//! What a node's kernel and file systems refuse, seen on one that runs: a function per promise of docs/security-features.md.
//! A machine that another test has booted is looked at; what is tried here leaves nothing behind.

use anyhow::{Context, Result, ensure};
use rocketos_tests::Guest;
use rocketos_tests::fixture::BOOT;

/// The image's settings of the kernel.
const SETTINGS: &str = "/usr/lib/sysctl.d/60-rocketos.conf";
/// Mount points, and what each of them forbids.
const FORBIDDEN: [(&str, &[&str]); 7] = [
    ("/dev/shm", &["nosuid", "nodev", "noexec"]),
    ("/proc", &["nosuid", "nodev", "noexec"]),
    ("/run", &["nosuid", "nodev", "noexec"]),
    ("/sys", &["nosuid", "nodev", "noexec"]),
    ("/sysroot", &["ro", "nosuid", "nodev", "noexec"]),
    ("/tmp", &["nosuid", "nodev", "noexec"]),
    ("/var", &["nosuid", "nodev"]),
];
/// Where anybody, or a service, may write, and nothing is a program.
const SHARED: [&str; 3] = ["/dev/shm", "/run", "/tmp"];
/// A shell's word for a file that may not be started.
const NOT_STARTED: i32 = 126;

/// Everything below.
pub fn holds(guest: &mut Guest) -> Result<()> {
    settings_of_the_kernel_are_the_images(guest)?;
    settings_that_guard_the_kernel_stay(guest)?;
    root_does_not_change_the_running_kernel(guest)?;
    modules_nobody_signed_are_refused(guest)?;
    types_of_the_kernel_are_there_for_tools(guest)?;
    mounts_forbid_what_nobody_needs(guest)?;
    nothing_starts_where_anybody_writes(guest)?;
    nobody_has_a_password(guest)?;
    a_crash_leaves_no_memory_on_the_disk(guest)?;
    containers_keep_what_they_need(guest)?;
    partitions_are_mounted_by_name_alone(guest)
}

/// Each line of the file, as the kernel has it.
fn settings_of_the_kernel_are_the_images(guest: &mut Guest) -> Result<()> {
    let text = guest.ask(&format!("cat {SETTINGS}"))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let settings: Vec<(&str, &str)> = lines
        .map(|line| line.split_once(" = ").with_context(|| format!("no setting: {line}")))
        .collect::<Result<_>>()?;
    ensure!(!settings.is_empty(), "{SETTINGS} says nothing");
    for (key, expected) in settings {
        let found = guest.ask(&format!("cat /proc/sys/{}", key.replace('.', "/")))?;
        ensure!(found == expected, "{key} is {found}, the image says {expected}");
    }
    Ok(())
}

/// Root cannot take these back: another kernel is not started, and nobody else hands programs to this one.
fn settings_that_guard_the_kernel_stay(guest: &mut Guest) -> Result<()> {
    for name in ["kexec_load_disabled", "unprivileged_bpf_disabled"] {
        let taken_back = guest.run(&format!("echo 0 > /proc/sys/kernel/{name}"), BOOT)?;
        let now = guest.ask(&format!("cat /proc/sys/kernel/{name}"))?;
        ensure!(!taken_back.success() && now == "1", "{name} is {now} after it was set back: {}", taken_back.stdout);
    }
    Ok(())
}

/// Lockdown, as it says of itself and as it does.
fn root_does_not_change_the_running_kernel(guest: &mut Guest) -> Result<()> {
    let state = guest.ask("cat /sys/kernel/security/lockdown")?;
    ensure!(state.contains("[integrity]") || state.contains("[confidentiality]"), "lockdown is: {state}");
    let memory = guest.run("dd if=/dev/mem of=/dev/null bs=1 count=1", BOOT)?;
    ensure!(memory.stdout.contains("Operation not permitted"), "/dev/mem can be opened: {}", memory.stdout);
    Ok(())
}

/// A file without a signature is refused for want of one, before anything else of it is looked at; signed ones are at work.
fn modules_nobody_signed_are_refused(guest: &mut Guest) -> Result<()> {
    ensure!(guest.ask("cat /sys/module/module/parameters/sig_enforce")? == "Y", "signatures are not enforced");
    guest.ask("grep -q '^erofs ' /proc/modules")?;
    let unsigned = guest.run("cp /usr/bin/true /var/unsigned.ko && insmod /var/unsigned.ko", BOOT)?;
    guest.ask("rm /var/unsigned.ko")?;
    ensure!(
        !unsigned.success() && unsigned.stdout.contains("Key was rejected"),
        "a module without a signature: status {}, {}",
        unsigned.status,
        unsigned.stdout
    );
    Ok(())
}

/// BTF.
fn types_of_the_kernel_are_there_for_tools(guest: &mut Guest) -> Result<()> {
    guest.ask("test -s /sys/kernel/btf/vmlinux").map(drop)
}

fn mounts_forbid_what_nobody_needs(guest: &mut Guest) -> Result<()> {
    let mounts = guest.ask("cat /proc/self/mounts")?;
    for (target, forbidden) in FORBIDDEN {
        // What is mounted last is what is seen.
        let line = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some(target));
        let options = line.and_then(|line| line.split(' ').nth(3)).with_context(|| format!("{target} is no mount"))?;
        let missing: Vec<_> =
            forbidden.iter().filter(|word| !options.split(',').any(|option| option == **word)).collect();
        ensure!(missing.is_empty(), "{target} is mounted without {missing:?}: {options}");
    }
    Ok(())
}

fn nothing_starts_where_anybody_writes(guest: &mut Guest) -> Result<()> {
    let start = |folder: &str| format!("cp /usr/bin/true {folder}/program && {folder}/program");
    for folder in SHARED {
        let ended = guest.run(&start(folder), BOOT)?;
        ensure!(ended.status == NOT_STARTED, "{folder}: status {}: {}", ended.status, ended.stdout);
        guest.ask(&format!("rm {folder}/program"))?;
    }
    // Volumes of containers hold programs; and the copies above failed for no other reason.
    guest.ask(&format!("{} && rm /var/program", start("/var"))).map(drop)
}

/// Nobody, root least of all, can type one that is taken.
fn nobody_has_a_password(guest: &mut Guest) -> Result<()> {
    let open = guest.ask("grep -v '^[^:]*:[!*]' /etc/shadow; grep -v '^[^:]*:x:' /etc/passwd; true")?;
    ensure!(open.is_empty(), "accounts with a password, or without need for one:\n{open}");
    ensure!(guest.ask("grep -c '^root:' /etc/shadow")? == "1", "root is not among the accounts");
    Ok(())
}

/// By default, and where a program asked for one.
fn a_crash_leaves_no_memory_on_the_disk(guest: &mut Guest) -> Result<()> {
    let limit = guest.ask("systemctl show --property=DefaultLimitCORE --value")?;
    ensure!(limit == "0", "services may write {limit} bytes when they crash");
    let crash = "sh -c 'cd /var/crash && ulimit -c unlimited; kill -SEGV $$'";
    guest.run(&format!("mkdir /var/crash && systemd-run --quiet --wait --collect {crash}"), BOOT)?;
    let left = guest.ask("ls -A /var/crash && rm -r /var/crash")?;
    ensure!(left.is_empty(), "a crash left {left}");
    Ok(())
}

/// User namespaces for whoever wants one, and packets that are passed on.
fn containers_keep_what_they_need(guest: &mut Guest) -> Result<()> {
    guest.ask("setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user --map-root-user true")?;
    let forwarding = guest.ask("echo 1 > /proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv4/ip_forward")?;
    ensure!(forwarding == "1", "the kernel does not forward");
    Ok(())
}

/// A partition is not mounted, or swapped to, because it is there.
fn partitions_are_mounted_by_name_alone(guest: &mut Guest) -> Result<()> {
    guest.ask("test ! -e /usr/lib/systemd/system-generators/systemd-gpt-auto-generator")?;
    let esp = guest.ask("grep -E ' (/boot|/efi) ' /proc/self/mounts; true")?;
    ensure!(esp.is_empty(), "the ESP stands mounted for everybody: {esp}");
    Ok(())
}

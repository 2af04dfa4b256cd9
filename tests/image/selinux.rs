//! The SELinux policy's promises: what breaks one is refused by the compiler, before there is an image.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rocketos_tests::{Progress, Tools};

/// What secilc says when a rule violates a neverallow.
const REFUSED: &str = "neverallow check failed";

/// One rule added to the policy, each of which breaks a promise: base/selinux/60-never.cil.
const VIOLATIONS: &[&str] = &[
    // Only guardians write what makes the next boot.
    "(allow container_t store_t (file (write)))",
    "(allow spc_t store_t (file (append)))",
    "(allow spc_t state_t (dir (add_name)))",
    "(allow spc_t esp_t (file (create)))",
    "(allow runtime_t store_t (file (unlink)))",
    "(allow runtime_t state_t (file (rename)))",
    "(allow service_t esp_t (dir (remove_name)))",
    "(allow service_t efivars_t (file (write)))",
    "(allow init_t store_t (dir (rmdir)))",
    "(allow init_t state_t (file (setattr)))",
    "(allow shell_t esp_t (file (write)))",
    "(allow disks_t store_t (file (write)))",
    "(allow kernel_t state_t (file (write)))",
    "(allow service_t store_t (file (relabelto)))",
    "(allow runtime_t esp_t (filesystem (relabelfrom)))",
    // What is stored of settings is for who applies them, and that one writes nothing else of tomorrow.
    "(allow service_t settings_state_t (file (write)))",
    "(allow shell_t settings_state_t (dir (add_name)))",
    "(allow runtime_t settings_state_t (file (unlink)))",
    "(allow spc_t settings_state_t (file (create)))",
    "(allow settings_t settings_state_t (file (relabelto)))",
    "(allow settings_t state_t (dir (add_name)))",
    "(allow settings_t store_t (file (write)))",
    "(allow settings_t esp_t (file (create)))",
    "(allow service_t settings_t (process (transition)))",
    "(allow container_t settings_t (process (transition)))",
    "(allow settings_t settings_state_t (file (execute)))",
    "(allow settings_t updater_t (process (transition)))",
    // Disks as they are.
    "(allow container_t device_t (blk_file (read)))",
    "(allow spc_t container_file_t (blk_file (open)))",
    "(allow spc_t device_t (blk_file (write)))",
    "(allow runtime_t container_file_t (blk_file (open)))",
    "(allow service_t device_t (blk_file (write)))",
    "(allow init_t device_t (blk_file (append)))",
    "(allow settings_t device_t (blk_file (write)))",
    // Nobody touches the policy.
    "(allow init_t security_t (security (load_policy)))",
    "(allow init_t security_t (security (setenforce)))",
    "(allow updater_t security_t (security (load_policy)))",
    "(allow shell_t security_t (security (setbool)))",
    "(allow spc_t security_t (security (setenforce)))",
    "(allow kernel_t security_t (security (setsecparam)))",
    "(allow initramfs_t security_t (security (setcheckreqprot)))",
    "(allow updater_t policy_t (file (write)))",
    "(allow service_t policy_t (file (unlink)))",
    "(allow init_t policy_t (file (relabelfrom)))",
    "(allow spc_t security_t (file (write)))",
    // The host executes the image.
    "(allow init_t var_t (file (execute)))",
    "(allow service_t run_t (file (execute_no_trans)))",
    "(allow service_t memory_t (file (execute)))",
    "(allow updater_t etc_t (file (execute)))",
    "(allow runtime_t var_t (file (execute)))",
    "(allow shell_t container_file_t (file (execute)))",
    "(allow kernel_t container_file_t (file (execute_no_trans)))",
    "(allow service_t var_t (file (entrypoint)))",
    "(allow runtime_t runtime_memory_t (file (entrypoint)))",
    "(allow service_t image_t (file (execmod)))",
    "(allow service_t self (process (execmem)))",
    "(allow updater_t self (process (execstack)))",
    "(allow updater_t image_t (file (write)))",
    // Images of host containers are the store's, and nothing of the host runs them.
    "(allow service_t container_image_t (file (execute)))",
    "(allow init_t container_image_t (file (execute)))",
    "(allow updater_t container_image_t (file (execute_no_trans)))",
    "(allow updater_t container_image_t (file (entrypoint)))",
    "(allow updater_t container_image_t (file (relabelto)))",
    "(allow runtime_t container_image_t (file (relabelto)))",
    "(allow spc_t container_image_t (file (write)))",
    // Domains change where a program starts, and only as drawn.
    "(allow init_t initramfs_t (process (transition)))",
    "(allow init_t updater_t (process (dyntransition)))",
    "(allow updater_t self (process (setcurrent)))",
    "(allow service_t kernel_t (process (transition)))",
    "(allow service_t updater_t (process (transition)))",
    "(allow runtime_t updater_t (process (transition)))",
    "(allow shell_t updater_t (process (transition)))",
    "(allow service_t updater_t (service (start)))",
    "(allow container_t updater_t (service (start)))",
    "(allow container_t runtime_t (process (transition)))",
    "(allow spc_t init_t (process (transition)))",
    // Containers and the node.
    "(allow container_t init_t (process (ptrace)))",
    "(allow spc_t service_t (process (ptrace)))",
    "(allow spc_t updater_t (process (signal)))",
    "(allow container_t runtime_t (process (sigkill)))",
    "(allow container_t runtime_t (unix_stream_socket (connectto)))",
    "(allow spc_t init_t (unix_stream_socket (connectto)))",
    "(allow spc_t init_t (service (start)))",
    "(allow spc_t service_t (dbus (send_msg)))",
    "(allow container_t init_t (system (reboot)))",
    "(allow spc_t etc_t (file (write)))",
    "(allow spc_t run_t (file (create)))",
    "(allow container_t var_t (file (open)))",
    "(allow container_t container_var_lib_t (dir (search)))",
    "(allow spc_t container_var_lib_t (dir (search)))",
    "(allow container_t memory_t (file (relabelto)))",
    "(allow container_t helper_t (file (write)))",
    "(allow spc_t helper_t (file (write)))",
    "(allow container_t image_t (system (module_load)))",
    "(allow spc_t memory_t (system (module_load)))",
    "(allow container_t self (capability (sys_module)))",
    "(allow updater_t self (capability2 (mac_admin)))",
    // Host containers come to the API, and to nothing else; the engine's containers not even there.
    "(allow runtime_t control_t (process (transition)))",
    "(allow runtime_t super_t (process (transition)))",
    "(allow service_t super_t (process (transition)))",
    "(allow container_t control_t (process (transition)))",
    "(allow control_t super_t (process (transition)))",
    "(allow super_t settings_t (process (transition)))",
    "(allow container_t api_t (sock_file (write)))",
    "(allow spc_t api_t (sock_file (write)))",
    "(allow spc_t updater_t (unix_stream_socket (connectto)))",
    "(allow container_t settings_t (service (status)))",
    "(allow spc_t settings_t (service (start)))",
    "(allow spc_t super_t (process (ptrace)))",
    "(allow spc_t super_t (process (sigkill)))",
    "(allow container_t control_t (unix_stream_socket (connectto)))",
    "(allow spc_t container_image_t (file (execute)))",
    "(allow spc_t init_t (file (read)))",
    "(allow control_t init_t (unix_stream_socket (connectto)))",
    "(allow super_t updater_t (unix_stream_socket (connectto)))",
    "(allow spc_t settings_t (unix_stream_socket (connectto)))",
    "(allow super_t run_t (sock_file (write)))",
    "(allow control_t api_t (sock_file (unlink)))",
    "(allow super_t settings_t (service (stop)))",
    "(allow control_t updater_t (service (start)))",
    "(allow super_t updater_t (service (start)))",
    "(allow super_t service_t (dbus (send_msg)))",
    "(allow control_t init_t (file (read)))",
    "(allow super_t init_t (file (write)))",
    "(allow super_t updater_t (file (append)))",
    "(allow updater_t store_t (file (execute_no_trans)))",
    "(allow service_t store_t (file (execute)))",
    "(allow super_t init_t (process (ptrace)))",
    "(allow super_t updater_t (process (signal)))",
    "(allow super_t store_t (file (write)))",
    "(allow super_t state_t (dir (add_name)))",
    "(allow super_t esp_t (file (create)))",
    "(allow super_t settings_state_t (file (create)))",
    "(allow super_t security_t (security (setenforce)))",
    "(allow super_t etc_t (file (write)))",
    "(allow super_t helper_t (file (write)))",
    "(allow super_t container_image_t (file (write)))",
    "(allow super_t memory_t (system (module_load)))",
    "(allow super_t device_t (blk_file (write)))",
    "(allow control_t var_t (file (open)))",
    "(allow control_t memory_t (file (relabelto)))",
    "(allow control_t self (capability (sys_module)))",
];

/// The policy's sources, in order.
fn sources() -> Result<Vec<PathBuf>> {
    let folder = rocketos_tests::paths::workspace().join("base/selinux");
    let listed = std::fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut found: Vec<PathBuf> = listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "cil"));
    found.sort();
    ensure!(!found.is_empty(), "{} holds no policy", folder.display());
    Ok(found)
}

/// Compiles the policy with `more` added, as Containerfile.d/30-sealer does.
fn compile(tools: &Tools, output: &Path, more: &str) -> Result<()> {
    let added = output.join("added.cil");
    std::fs::write(&added, more)?;
    tools
        .run("secilc")
        .arg("--policyvers=33")
        .arg(format!("--output={}", output.join("policy").display()))
        .arg(format!("--filecontext={}", output.join("file_contexts").display()))
        .args(sources()?)
        .arg(&added)
        .output()
        .map(drop)
}

#[test]
fn policy_is_small_compiles_and_comes_out_the_same() -> Result<()> {
    let tools = Tools::ensure(&Progress::new())?;
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    compile(&tools, one.path(), "")?;
    compile(&tools, two.path(), "")?;
    for name in ["policy", "file_contexts"] {
        ensure!(std::fs::read(one.path().join(name))? == std::fs::read(two.path().join(name))?, "two {name} differ");
    }
    let mut lines = 0;
    for path in sources()? {
        lines += std::fs::read_to_string(path)?.lines().count();
    }
    ensure!(lines <= 1500, "the policy has {lines} lines");
    Ok(())
}

#[test]
fn no_rule_may_break_a_promise() -> Result<()> {
    let tools = Tools::ensure(&Progress::new())?;
    let output = tempfile::tempdir()?;
    let mut passed = Vec::new();
    for rule in VIOLATIONS {
        match compile(&tools, output.path(), rule) {
            Ok(()) => passed.push(format!("{rule} was taken")),
            Err(error) if format!("{error:#}").contains(REFUSED) => {}
            Err(error) => passed.push(format!("{rule} was refused for another reason: {error:#}")),
        }
    }
    ensure!(passed.is_empty(), "{}", passed.join("\n"));
    Ok(())
}

#[test]
fn every_path_of_an_image_has_a_label() -> Result<()> {
    let tools = Tools::ensure(&Progress::new())?;
    let output = tempfile::tempdir()?;
    compile(&tools, output.path(), "")?;
    let contexts = std::fs::read_to_string(output.path().join("file_contexts"))?;
    ensure!(contexts.lines().any(|line| line.starts_with("/.*\t")), "no line is for every path:\n{contexts}");
    for line in contexts.lines().filter(|line| line.ends_with("<<none>>")) {
        // What the kernel makes there has the kernel's labels.
        ensure!(line.starts_with("/proc/") || line.starts_with("/sys/"), "nothing is said of {line}");
    }
    for line in contexts.lines().filter(|line| !line.ends_with("<<none>>")) {
        ensure!(line.contains("\tsystem_u:object_r:") && line.ends_with("_t:s0"), "an odd label: {line}");
    }
    Ok(())
}

//! User data of the host container `admin`, and what sshd reads because of it.

use std::path::Path;

use rocketos_admin::{
    sshd::{config, key_lines},
    userdata::UserData,
};

/// What begins a line of sshd_config(5); a value that made another would be told by it.
const NAMES: [&str; 16] = [
    "AllowUsers",
    "AuthenticationMethods",
    "AuthorizedKeysFile",
    "HostKey",
    "KbdInteractiveAuthentication",
    "PasswordAuthentication",
    "PermitEmptyPasswords",
    "PermitRootLogin",
    "PermitUserEnvironment",
    "PidFile",
    "PrintMotd",
    "PubkeyAuthentication",
    "Subsystem",
    "TrustedUserCAKeys",
    "UsePAM",
    "X11Forwarding",
];

pub(crate) fn fuzz(bytes: &[u8]) {
    let data = match UserData::parse(bytes) {
        Ok(data) => data,
        Err(error) => return assert!(!error.to_string().chars().any(char::is_control), "{error:?}"),
    };
    let user = data.user.as_deref().unwrap_or("ec2-user");
    assert!(!user.is_empty() && !user.contains([' ', ':', ',', '*', '?', '!', '@', '#', '/']), "{user}");
    let text = config(user, &data, Path::new("/key"));
    let mut names: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    names.sort_unstable();
    assert!(names.iter().all(|name| NAMES.contains(name)) && names.windows(2).all(|pair| pair[0] != pair[1]), "{text}");
    assert!(data.lets_somebody_in() || !text.contains("TrustedUserCAKeys"));
    for keys in [&data.ssh.authorized_keys, &data.ssh.trusted_user_ca_keys] {
        let lines = key_lines(keys);
        assert_eq!(lines.lines().count(), keys.len());
        assert!(lines.lines().all(|line| !line.is_empty() && !line.starts_with('#')), "{lines}");
    }
}

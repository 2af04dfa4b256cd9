//! What sshd reads: made anew at every start, in memory, but for the key by which this container is known again.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use rocketos_model::layout::inside;

use crate::userdata::UserData;

/// The program.
pub const SSHD: &str = "/usr/sbin/sshd";
/// Makes the key.
const KEYGEN: &str = "/usr/bin/ssh-keygen";
/// What sshd gives processes that nobody came by yet as their root (sshd(8)).
const EMPTY: &str = "run/sshd";
/// The folder of everything else.
const FOLDER: &str = "run/ssh";
/// Users of the image; /etc/passwd of the image leads to [`PASSWD`].
const USERS: &str = "usr/lib/passwd";
const PASSWD: &str = "run/passwd";
/// Bytes of the image's users.
const USERS_BYTES: u64 = 64 << 10;
/// Who comes where user data say nothing, as with Bottlerocket.
const USER: &str = "ec2-user";
/// Who may come, too: it is the same.
const ROOT: &str = "root";
const HOST_KEY: &str = "ssh_host_ed25519_key";

/// What sshd cannot be started with.
#[derive(Debug, thiserror::Error)]
pub enum SshdError {
    /// A file.
    #[error("{doing} {}", path.display())]
    File {
        /// What was done.
        doing: &'static str,
        /// With which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A name that means somebody else.
    #[error("user data: the image has a user '{0}' already: choose another name")]
    Taken(String),
    /// No key of this container's came of it.
    #[error("making a host key: ssh-keygen ended with {0}")]
    NoKey(ExitStatus),
}

impl SshdError {
    fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { doing, path: path.to_owned(), source }
    }
}

/// Writes everything below `root`, and returns where the configuration is.
///
/// # Errors
/// When the image has a user of that name, a file cannot be written, or no host key is made.
pub fn prepare(root: &Path, data: &UserData) -> Result<PathBuf, SshdError> {
    prepare_with(root, data, Path::new(KEYGEN))
}

fn prepare_with(root: &Path, data: &UserData, keygen: &Path) -> Result<PathBuf, SshdError> {
    let user = data.user.as_deref().unwrap_or(USER);
    let users = users(&root.join(USERS), user)?;
    for (folder, mode) in [(EMPTY, 0o755), (FOLDER, 0o755)] {
        let path = root.join(folder);
        DirBuilder::new().recursive(true).mode(mode).create(&path).map_err(SshdError::file("making", &path))?;
    }
    write(&root.join(PASSWD), &users)?;
    write(&root.join(FOLDER).join("authorized_keys"), &key_lines(&data.ssh.authorized_keys))?;
    write(&root.join(FOLDER).join("trusted_user_ca_keys"), &key_lines(&data.ssh.trusted_user_ca_keys))?;
    let key = host_key(root, keygen)?;
    let path = root.join(FOLDER).join("sshd_config");
    write(&path, &config(user, data, &key))?;
    Ok(path)
}

/// The image's users, and `user`, who is root under another name.
fn users(path: &Path, user: &str) -> Result<String, SshdError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(USERS_BYTES).read_to_string(&mut text));
    read.map_err(SshdError::file("reading", path))?;
    if user == ROOT {
        return Ok(text);
    }
    if text.lines().any(|line| line.split(':').next() == Some(user)) {
        return Err(SshdError::Taken(user.to_owned()));
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    // name:password:uid:gid:comment:home:shell (passwd(5)); no password is that of an asterisk.
    let _ = writeln!(text, "{user}:*:0:0::/root:/bin/bash");
    Ok(text)
}

/// Keys, a line each (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
pub fn key_lines(keys: &[String]) -> String {
    keys.iter().fold(String::new(), |all, key| all + key.trim() + "\n")
}

/// sshd_config(5). Of what people say it has the name alone.
pub fn config(user: &str, data: &UserData, key: &Path) -> String {
    let mut text = format!(
        "HostKey {}\n\
         PidFile none\n\
         AllowUsers {ROOT}{}\n\
         AuthenticationMethods publickey\n\
         PubkeyAuthentication yes\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PermitEmptyPasswords no\n\
         PermitRootLogin prohibit-password\n\
         PermitUserEnvironment no\n\
         UsePAM no\n\
         X11Forwarding no\n\
         PrintMotd no\n\
         Subsystem sftp internal-sftp\n\
         AuthorizedKeysFile /{FOLDER}/authorized_keys\n",
        key.display(),
        if user == ROOT { String::new() } else { format!(" {user}") }
    );
    if !data.ssh.trusted_user_ca_keys.is_empty() {
        let _ = writeln!(text, "TrustedUserCAKeys /{FOLDER}/trusted_user_ca_keys");
    }
    text
}

/// The key by which this container is known: made once, and again at every start where nothing outlives it. As sshd is to see it.
fn host_key(root: &Path, keygen: &Path) -> Result<PathBuf, SshdError> {
    let folder = match root.join(inside::PERSISTENT).is_dir() && is_writable(&root.join(inside::PERSISTENT)) {
        true => inside::PERSISTENT,
        false => {
            eprintln!("admin: nothing outlives this container, so that it has another host key at every start");
            FOLDER
        }
    };
    let seen = Path::new("/").join(folder).join(HOST_KEY);
    let path = root.join(folder).join(HOST_KEY);
    if path.exists() {
        return Ok(seen);
    }
    // Under another name until it is whole.
    let (new, new_public) = (path.with_extension("new"), path.with_extension("new.pub"));
    for left in [&new, &new_public] {
        match fs::remove_file(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SshdError::file("removing", left)(error));
            }
            _ => {}
        }
    }
    let mut command = Command::new(keygen);
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&new).stdin(Stdio::null());
    let status = command.status().map_err(SshdError::file("starting", keygen))?;
    if !status.success() {
        return Err(SshdError::NoKey(status));
    }
    File::open(&new).and_then(|file| file.sync_all()).map_err(SshdError::file("writing", &new))?;
    let public = path.with_extension("pub");
    fs::rename(&new_public, &public).map_err(SshdError::file("naming", &public))?;
    fs::rename(&new, &path).map_err(SshdError::file("naming", &path))?;
    let folder = root.join(folder);
    File::open(&folder).and_then(|file| file.sync_all()).map_err(SshdError::file("writing", &folder))?;
    Ok(seen)
}

/// Without a persistent folder its place is a folder of the image's.
fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// sshd takes what nobody but root can change.
fn write(path: &Path, text: &str) -> Result<(), SshdError> {
    let doing = |error| SshdError::file("writing", path)(error);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(path).map_err(doing)?;
    file.write_all(text.as_bytes()).map_err(doing)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;
    use crate::userdata::Ssh;

    /// In the place of ssh-keygen: `-f` names the file, which is the last word.
    const MAKES: &str = "#!/bin/sh\nfor last; do :; done\ntest ! -e \"$last\" && echo private$$ > \"$last\" && echo public > \"$last.pub\"\n";

    fn root(keygen: &str) -> (TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        for folder in ["run", "usr/lib", inside::PERSISTENT] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join(USERS), "root:x:0:0:root:/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/bin/false")
            .unwrap();
        let program = root.path().join("keygen");
        fs::write(&program, keygen).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        (root, program)
    }

    fn of(user: Option<&str>, keys: &[&str], authorities: &[&str]) -> UserData {
        let all = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        let ssh = Ssh { authorized_keys: all(keys), trusted_user_ca_keys: all(authorities) };
        UserData { user: user.map(ToOwned::to_owned), ssh }
    }

    #[test]
    fn sshd_lets_in_by_keys_alone_and_whom_user_data_name() {
        let (root, keygen) = root(MAKES);
        let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
        let config = prepare_with(root.path(), &of(Some("me"), &["ssh-ed25519 AAAA me "], &[]), &keygen).unwrap();
        let config = fs::read_to_string(config).unwrap();
        for line in [
            "AllowUsers root me",
            "AuthenticationMethods publickey",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "HostKey /.rocketos/persistent/ssh_host_ed25519_key",
            "AuthorizedKeysFile /run/ssh/authorized_keys",
        ] {
            assert_eq!(config.lines().filter(|found| *found == line).count(), 1, "{line}: {config}");
        }
        assert!(!config.contains("TrustedUserCAKeys"));
        assert_eq!(read("run/ssh/authorized_keys"), "ssh-ed25519 AAAA me\n");
        assert!(read(PASSWD).ends_with(":/bin/false\nme:*:0:0::/root:/bin/bash\n"), "{}", read(PASSWD));

        // Keys that are gone are gone.
        let config = prepare_with(root.path(), &of(None, &[], &["ssh-ed25519 CA"]), &keygen).unwrap();
        let config = fs::read_to_string(config).unwrap();
        assert!(config.contains("\nAllowUsers root ec2-user\n"));
        assert!(config.contains("\nTrustedUserCAKeys /run/ssh/trusted_user_ca_keys\n"));
        assert_eq!(
            (read("run/ssh/authorized_keys").as_str(), read("run/ssh/trusted_user_ca_keys").as_str()),
            ("", "ssh-ed25519 CA\n")
        );
        assert!(!read(PASSWD).contains("me:*"));

        let config = prepare_with(root.path(), &of(Some("root"), &["a"], &[]), &keygen).unwrap();
        assert!(fs::read_to_string(config).unwrap().contains("\nAllowUsers root\n"));
        assert_eq!(read(PASSWD), read(USERS));
        let taken = prepare_with(root.path(), &of(Some("sshd"), &["a"], &[]), &keygen);
        assert!(matches!(taken, Err(SshdError::Taken(name)) if name == "sshd"));
    }

    #[test]
    fn a_host_key_is_made_once_and_what_was_not_finished_is_made_again() {
        let (root, keygen) = root(MAKES);
        let path = root.path().join(inside::PERSISTENT).join(HOST_KEY);
        fs::write(path.with_extension("new"), "half").unwrap();
        prepare_with(root.path(), &of(None, &["a"], &[]), &keygen).unwrap();
        let made = fs::read_to_string(&path).unwrap();
        assert!(made.starts_with("private"));
        assert_eq!(fs::read_to_string(path.with_extension("pub")).unwrap(), "public\n");
        prepare_with(root.path(), &of(None, &["a"], &[]), &keygen).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), made);

        fs::remove_dir_all(root.path().join(inside::PERSISTENT)).unwrap();
        let config = prepare_with(root.path(), &of(None, &["a"], &[]), &keygen).unwrap();
        assert!(fs::read_to_string(config).unwrap().starts_with("HostKey /run/ssh/ssh_host_ed25519_key\n"));
        assert!(root.path().join(FOLDER).join(HOST_KEY).exists());
    }

    #[test]
    fn says_that_there_is_no_key() {
        let (root, keygen) = root("#!/bin/sh\nexit 3\n");
        let error = prepare_with(root.path(), &of(None, &["a"], &[]), &keygen).unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert!(!root.path().join(inside::PERSISTENT).join(HOST_KEY).exists());
        let none = prepare_with(root.path(), &of(None, &["a"], &[]), Path::new("/no/such/program")).unwrap_err();
        assert_eq!(none.to_string(), "starting /no/such/program");
    }
}

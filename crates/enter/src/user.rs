//! Whom an image names: by number, or by the names in its own /etc/passwd and /etc/group.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rocketos_model::limits;

/// Who a program is started as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// Its folder.
    pub home: String,
}

/// A user that is not there.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// A name that the image does not have.
    #[error("the image's /etc/{file} has no '{name}'")]
    Unknown {
        /// `passwd` or `group`.
        file: &'static str,
        /// The name.
        name: String,
    },
    /// A file that is there.
    #[error("reading the image's /etc/{file}")]
    Read {
        /// `passwd` or `group`.
        file: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl User {
    /// `user`, `uid`, `user:group` or `uid:gid` (OCI image configuration, `User`); root where it is empty.
    ///
    /// # Errors
    /// When a name is not in the image. A number need not be.
    pub fn find(root: &Path, text: &str) -> Result<Self, UserError> {
        let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
        let name = if name.is_empty() { "0" } else { name };
        let passwd = read(root, "passwd")?;
        // name:password:uid:gid:comment:home:shell (passwd(5))
        let known = lines(&passwd).find(|fields| fields[0] == name || fields.get(2) == Some(&name));
        let number = |at: usize| known.as_ref().and_then(|fields| fields.get(at)?.parse::<u32>().ok());
        let unknown = |file, name: &str| UserError::Unknown { file, name: name.to_owned() };
        let uid = number(2).or_else(|| name.parse().ok()).ok_or_else(|| unknown("passwd", name))?;
        let gid = match group.filter(|group| !group.is_empty()) {
            None => number(3).unwrap_or(0),
            Some(group) => {
                let groups = read(root, "group")?;
                // name:password:gid:members (group(5))
                let known = lines(&groups).find(|fields| fields[0] == group);
                let number = known.and_then(|fields| fields.get(2)?.parse().ok());
                number.or_else(|| group.parse().ok()).ok_or_else(|| unknown("group", group))?
            }
        };
        let home = known.and_then(|fields| fields.get(5).copied()).filter(|home| !home.is_empty()).unwrap_or("/");
        Ok(Self { uid, gid, home: home.to_owned() })
    }
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

/// A file of the image; empty where there is none.
fn read(root: &Path, file: &'static str) -> Result<String, UserError> {
    let mut bytes = Vec::new();
    let read = File::open(root.join("etc").join(file))
        .and_then(|opened| opened.take(limits::CONFIG_FILE_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(UserError::Read { file, source }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn finds_users_by_name_and_number() {
        let root = tempfile::tempdir().unwrap();
        let find = |text: &str| User::find(root.path(), text).map(|user| (user.uid, user.gid, user.home));
        let is = |uid, gid, home: &str| (uid, gid, home.to_owned());
        assert_eq!(find("").unwrap(), is(0, 0, "/"));
        assert_eq!(find("7:8").unwrap(), is(7, 8, "/"));
        assert!(find("me").is_err());
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(
            root.path().join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nodd\nme:x:1000:100::/home/me:\nx:x:-1:z\n",
        )
        .unwrap();
        fs::write(root.path().join("etc/group"), "odd\nwheel:x:10:me\n").unwrap();
        for (text, expected) in [
            ("", is(0, 0, "/root")),
            ("me", is(1000, 100, "/home/me")),
            ("1000", is(1000, 100, "/home/me")),
            ("me:wheel", is(1000, 10, "/home/me")),
            ("me:5", is(1000, 5, "/home/me")),
            ("me:", is(1000, 100, "/home/me")),
            ("2000", is(2000, 0, "/")),
        ] {
            assert_eq!(find(text).unwrap(), expected, "{text}");
        }
        for (text, file) in
            [("you", "passwd"), ("odd", "passwd"), ("x", "passwd"), ("me:staff", "group"), ("-1", "passwd")]
        {
            assert!(find(text).unwrap_err().to_string().contains(file), "{text}");
        }
    }
}

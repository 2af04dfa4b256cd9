//! Files that somebody hands in: on the ESP, and on a disk that is there for that.
//!
//! Neither is trusted. They are mounted for a moment, attached nowhere, so that nobody else sees them; nothing on them can be started,
//! leads to a device or through a link, and one file is read.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rocketos_sys::{
    block,
    label::{self, Kind, Labelled},
    mount::{Access, MountOption, Right, forbid, mount_device},
};
use rustix::fs::{Mode, OFlags, openat};

use crate::{DeployError, files, node::mount_esp};

/// A file of this machine's ESP, at most `most` bytes; absent where there is none, or the machine was not booted from a deployment.
///
/// # Errors
/// When the ESP cannot be mounted, or the file cannot be read, is longer, or is no file.
pub fn read_on_esp(path: &str, most: usize) -> Result<Option<Vec<u8>>, DeployError> {
    let booted = match files::booted() {
        Err(DeployError::NotBooted { .. }) => return Ok(None),
        other => other?,
    };
    let esp = mount_esp(&booted, Access::ReadOnly)?;
    read_beneath(&esp, path, most).map_err(DeployError::io("reading", Path::new(path)))
}

/// A file at the top of the one file system with this label, in small or capital letters; absent where there is none.
///
/// # Errors
/// When there are several, it cannot be mounted, or the file cannot be read, is longer, or is no file.
pub fn read_on_labelled(label: &str, name: &str, most: usize) -> Result<Option<Vec<u8>>, DeployError> {
    let mut found = labelled(label)?;
    let Some((device, file_system)) = found.pop() else { return Ok(None) };
    if !found.is_empty() {
        let devices = found.into_iter().map(|(device, _)| device).chain([device]).collect();
        return Err(DeployError::Several { label: label.to_owned(), devices });
    }
    let mount = mount_labelled(&device, &file_system)?;
    read_beneath(&mount, name, most).map_err(DeployError::io("reading", &device.join(name)))
}

/// Devices with this label. udev need not have seen them yet.
fn labelled(label: &str) -> Result<Vec<(PathBuf, Labelled)>, DeployError> {
    let block = |source| DeployError::Disks(Box::new(source));
    let mut found = Vec::new();
    for disk in block::disks().map_err(block)?.into_iter().filter(|disk| disk.size > 0) {
        // What begins as a whole disk has partitions too, where it is to boot on older machines.
        let mut is_there = |device: PathBuf| match has_label(&device, label) {
            Some(file_system) => {
                found.push((device, file_system));
                true
            }
            None => false,
        };
        if !is_there(disk.path.clone()) {
            for partition in block::partition_nodes(&disk).map_err(block)? {
                is_there(partition);
            }
        }
    }
    Ok(found)
}

/// A drive without a medium, or one that does not answer, has no label.
fn has_label(device: &Path, label: &str) -> Option<Labelled> {
    let found = label::read(&mut File::open(device).ok()?).ok()??;
    found.label.eq_ignore_ascii_case(label).then_some(found)
}

fn mount_labelled(device: &Path, file_system: &Labelled) -> Result<OwnedFd, DeployError> {
    // Whoever made the disk had other users, and may have kept files from all others: here they are root's.
    let options: &[MountOption<'_>] = match file_system.kind {
        Kind::Vfat => &[MountOption::Value("umask", "0077")],
        Kind::Iso9660 => &[
            MountOption::Value("uid", "0"),
            MountOption::Value("gid", "0"),
            MountOption::Flag("overriderockperm"),
            MountOption::Value("mode", "0400"),
            MountOption::Value("dmode", "0500"),
        ],
    };
    mount_device(file_system.kind.name(), device, Access::ReadOnly, options)
        .and_then(|mount| forbid(&mount, &[Right::Device, Right::SetUser, Right::Execute]).map(|()| mount))
        .map_err(|error| DeployError::Mount {
            doing: "mounting a disk that configures this node",
            source: error.into(),
        })
}

/// A file below a folder. No name of its path may be a link.
fn read_beneath(top: impl AsFd, path: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut names = path.split('/').peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        let is_last = names.peek().is_none();
        // Whoever opens a pipe would wait for its other end.
        let kind = if is_last { OFlags::NONBLOCK } else { OFlags::DIRECTORY };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
        let folder = at.as_ref().map_or(top.as_fd(), AsFd::as_fd);
        match openat(folder, name, flags, Mode::empty()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => at = Some(other?),
        }
    }
    let Some(file) = at.map(File::from) else { return Ok(None) };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > most {
        true => Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {most} bytes"))),
        false => Ok(Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    const TEXT: &[u8] = b"[settings]\nmotd = 'hello'\n";

    fn run(program: &str, args: &[&str]) -> String {
        let ended = Command::new(program).args(args).output().unwrap();
        assert!(ended.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap().trim_end().to_owned()
    }

    /// A loop device; gone with it.
    struct Loop(String);

    impl Loop {
        fn of(file: &Path) -> Self {
            Self(run("losetup", &["--find", "--show", "--read-only", file.to_str().unwrap()]))
        }
    }

    impl Drop for Loop {
        fn drop(&mut self) {
            run("losetup", &["--detach", &self.0]);
        }
    }

    /// Disks as people make them: mkfs.vfat and mtools, xorriso.
    fn disks(folder: &Path, label: &str) -> [PathBuf; 2] {
        let content = folder.join("content");
        fs::create_dir_all(&content).unwrap();
        fs::write(content.join("user-data"), TEXT).unwrap();
        fs::write(content.join("meta-data"), "instance-id: a\n").unwrap();
        let [vfat, iso] = ["vfat", "iso"].map(|name| folder.join(name));
        let (content, path) = (content.to_str().unwrap(), vfat.to_str().unwrap());
        File::create(&vfat).unwrap().set_len(4 << 20).unwrap();
        run("mkfs.vfat", &["-n", label, path]);
        let sources = ["user-data", "meta-data"].map(|name| format!("{content}/{name}"));
        run("mcopy", &["-i", path, &sources[0], &sources[1], "::"]);
        run("xorriso", &["-as", "mkisofs", "-quiet", "-J", "-R", "-V", label, "-o", iso.to_str().unwrap(), content]);
        [vfat, iso]
    }

    /// Finding needs root and loop devices; mounting a kernel that knows the file system, or has it as a module.
    #[test]
    fn a_labelled_disk_is_found_and_its_file_read() {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            return println!("only root makes loop devices");
        }
        let folder = tempfile::tempdir().unwrap();
        // A label of its own: others may have a disk for cloud-init.
        let label = "ROCKETTEST";
        assert_eq!(read_on_labelled(label, "user-data", 4096).unwrap(), None);
        let [vfat, iso] = disks(folder.path(), label);
        for file in [&vfat, &iso] {
            let device = Loop::of(file);
            let found = labelled("rocketTest").unwrap();
            assert_eq!(found.iter().map(|(path, _)| path.to_str().unwrap()).collect::<Vec<_>>(), [&device.0]);
            match read_on_labelled(label, "user-data", 4096) {
                Err(DeployError::Mount { source, .. }) if unknown_to_the_kernel(source.as_ref()) => {
                    println!("this kernel has no {}", found[0].1.kind.name());
                }
                read => {
                    assert_eq!(read.unwrap().unwrap(), TEXT);
                    assert_eq!(read_on_labelled(label, "network-config", 4096).unwrap(), None);
                    let long = read_on_labelled(label, "user-data", TEXT.len() - 1).unwrap_err();
                    assert!(std::error::Error::source(&long).unwrap().to_string().contains("more than"), "{long}");
                }
            }
        }
        let both = [Loop::of(&vfat), Loop::of(&iso)];
        let error = read_on_labelled(label, "user-data", 4096).unwrap_err().to_string();
        assert!(both.iter().all(|device| error.contains(&device.0)) && error.contains(label), "{error}");
    }

    fn unknown_to_the_kernel(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.any(|error| {
            let io = error.downcast_ref::<io::Error>();
            io.and_then(io::Error::raw_os_error) == Some(rustix::io::Errno::NODEV.raw_os_error())
        })
    }

    #[test]
    fn a_file_is_read_and_no_link_pipe_or_folder() {
        let folder = tempfile::tempdir().unwrap();
        let top = File::open(folder.path()).unwrap();
        fs::create_dir_all(folder.path().join("EFI/rocketos")).unwrap();
        fs::write(folder.path().join("EFI/rocketos/a"), TEXT).unwrap();
        fs::write(folder.path().join("secret"), "x").unwrap();
        symlink("secret", folder.path().join("link")).unwrap();
        symlink("EFI", folder.path().join("efi")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        let read = |path: &str| read_beneath(&top, path, TEXT.len());
        assert_eq!(read("EFI/rocketos/a").unwrap().unwrap(), TEXT);
        for absent in ["b", "EFI/b/c", "EFI/rocketos/b"] {
            assert_eq!(read(absent).unwrap(), None, "{absent}");
        }
        for (wrong, says) in [("link", ""), ("efi/rocketos/a", ""), ("pipe", "it is no file"), ("EFI", "it is no file")]
        {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{wrong}: {error}");
        }
        assert_eq!(read_beneath(&top, "EFI/rocketos/a", 5).unwrap_err().to_string(), "it has more than 5 bytes");
    }
}

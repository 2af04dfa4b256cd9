//! What a file has beside its bytes reaches the node.

use anyhow::{Context, Result, ensure};

use crate::published::Published;

/// `struct vfs_cap_data` of revision 2, as setcap(8) writes `cap_net_raw=ep` (linux/capability.h).
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// 2001-02-03 04:05:06 UTC, as in `tests/data/repacked/Containerfile`.
const OLD: i64 = 981_173_106;

#[test]
fn capabilities_hard_links_and_mtimes_survive() -> Result<()> {
    let published = Published::new()?;
    let release = published.derived("repacked")?;
    let pulled = published.pull(&published.push(&release.image, "rocketos/repacked")?)?;

    let capable = pulled.files.find("/usr/libexec/dosfstools/capable")?;
    let found = capable.xattrs.get("security.capability").context("the capability is lost")?;
    ensure!(*found == NET_RAW, "the capability is {found:?}");

    let (one, two) =
        (pulled.files.find("/usr/libexec/dosfstools/one")?, pulled.files.find("/usr/libexec/dosfstools/two")?);
    ensure!(one.same_as.is_none() && one.links == 2, "{one:?}");
    ensure!(two.same_as.as_deref() == Some("/usr/libexec/dosfstools/one"), "{two:?}");

    let old = pulled.files.find("/usr/libexec/dosfstools/old")?;
    ensure!(old.mtime == OLD, "last changed at {}", old.mtime);
    Ok(())
}

#[test]
fn no_file_is_newer_than_the_source_date() -> Result<()> {
    let published = Published::new()?;
    let (_, pulled) = published.standalone()?;
    let newest: i64 = rocketos_tests::images::SOURCE_DATE_EPOCH.parse()?;
    let newer: Vec<_> = pulled.files.iter().filter(|(_, entry)| entry.mtime > newest).map(|(path, _)| path).collect();
    ensure!(newer.is_empty(), "{} files, such as {}", newer.len(), newer[0]);
    Ok(())
}

//! A store that is not what it was: what must be whole is refused, what can come again comes again.

use anyhow::{Result, ensure};
use rocketos_tests::Guest;
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};

use crate::refusals::{FAILED, expect, state};

/// Shows the root partition, writable, in a folder of its own.
const ROOT: &str = "mkdir -p /run/partition && mount $(findmnt -no SOURCE /sysroot | head -1) /run/partition";
/// Every name in the store, what it is and when it changed.
const LISTING: &str = "find /sysroot/composefs /sysroot/state/deploy -printf '%p %i %T@\\n' | sort | sha256sum";

/// Damages the store of a node in several ways, each mended again.
pub fn refused_or_healed(guest: &mut Guest, fixture: &Fixture) -> Result<()> {
    guest.ask(ROOT)?;
    metadata(guest)?;
    mountable_image(guest)?;
    lost_object(guest, fixture)?;
    guest.ask("umount /run/partition")?;
    Ok(())
}

/// Nothing is done with a store that does not say what it is.
fn metadata(guest: &mut Guest) -> Result<()> {
    let before = state(guest)?;
    guest.ask("cd /run/partition/composefs && mv meta.json /run/partition/meta.json && echo '{' > meta.json")?;
    let listing = guest.ask(LISTING)?;
    for verb in ["upgrade", "status", "prune", "rollback"] {
        let command = format!("rocketctl {verb}");
        expect(&command, &guest.run(&command, UPGRADE)?, FAILED, &["opening the store", "composefs"])?;
    }
    ensure!(guest.ask(LISTING)? == listing, "what refused the store changed it");
    guest.ask("mv /run/partition/meta.json /run/partition/composefs/meta.json")?;
    ensure!(state(guest)? == before, "mended, it is not what it was");
    Ok(())
}

/// Without the list of what the running image needs nothing may be removed.
fn mountable_image(guest: &mut Guest) -> Result<()> {
    let image = guest.ask("readlink -f /run/partition/composefs/images/*[0-9a-f]")?;
    guest.ask(&format!("mv {image} /run/partition/image && head -c 8192 /dev/urandom > {image}"))?;
    let listing = guest.ask(LISTING)?;
    expect("prune", &guest.run("rocketctl prune", UPGRADE)?, FAILED, &["collecting garbage in the store"])?;
    ensure!(guest.ask(LISTING)? == listing, "a prune in a damaged store removed something");
    guest.ask(&format!("mv /run/partition/image {image}"))?;
    guest.check("rocketctl prune", UPGRADE).map(drop)
}

/// A new release that shares a layer with the old brings what the layer lost.
fn lost_object(guest: &mut Guest, fixture: &Fixture) -> Result<()> {
    let victim = "/usr/bin/strace";
    let object = guest.ask(&format!(
        "sum=$(sha256sum < {victim}); find /run/partition/composefs/objects -size $(stat -c %s {victim})c | \
         while read f; do [ \"$(sha256sum < $f)\" = \"$sum\" ] && echo $f; done; true"
    ))?;
    ensure!(object.lines().count() == 1, "the object of {victim} is: {object}");
    guest.ask(&format!("mv {object} /run/partition/object && echo 3 > /proc/sys/vm/drop_caches"))?;
    let switch = format!("rocketctl switch {}", fixture.reference(VERSIONS[2]));
    guest.check(&switch, UPGRADE)?;
    ensure!(
        guest
            .run(&format!("[ \"$(sha256sum < {object})\" = \"$(sha256sum < /run/partition/object)\" ]"), BOOT)?
            .success(),
        "the object did not come again"
    );
    let sealed = guest.run(&format!("echo x >> {object}"), BOOT)?;
    ensure!(!sealed.success(), "the object that came again is not sealed");
    guest.ask("rm /run/partition/object")?;
    // Back to one deployment, as the other refusals expect it.
    let staged = "rocketctl rollback && rocketctl prune";
    guest.check(staged, UPGRADE)?;
    let status = guest.ask("rocketctl status --json")?;
    ensure!(!status.contains(&fixture.digests[2]), "the release that healed it is still there: {status}");
    Ok(())
}

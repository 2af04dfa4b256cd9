//! Which disk we booted from, and which of its partitions is what.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rocketos_model::gpt;
use rocketos_sys::block::{self, Disk, Partition};

use crate::{console, modules::Modules};

/// How long the disk may take to appear: spinning disks behind a RAID controller need half of it.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a second disk that claims to be ours may come after the first and still be seen, where drivers do not take
/// longer to look at their hardware: there may be a bus that is still being read.
const SETTLE: Duration = Duration::from_millis(100);
/// How long to wait for a device before looking again unasked.
const PAUSE: Duration = Duration::from_millis(500);

/// A disk and its partitions.
pub type Table = (Disk, Vec<Partition>);

/// The disk we booted from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// The whole disk.
    pub disk: Disk,
    /// Its EFI system partition.
    pub esp: Partition,
    /// Its root partition.
    pub root: Partition,
    /// Its partition for /var, where it has one.
    pub var: Option<Partition>,
}

/// Disks among which there is no telling which is ours; waiting does not help.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Two disks.
    #[error("{first} and {second} both claim to be the disk we booted from; unplug one")]
    Disks {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// Two partitions of one disk.
    #[error("{disk} has {count} {what} partitions; one is allowed")]
    Partitions {
        /// The disk.
        disk: String,
        /// How many it has.
        count: usize,
        /// Of which kind.
        what: &'static str,
    },
}

/// What a look at the disks gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Ours.
    Ours(Box<Ours>),
    /// Not yet all of it, and what is missing.
    NotYet(String),
}

/// The one partition of a kind; absent where there is none.
fn only<'a>(
    disk: &Disk,
    partitions: &'a [Partition],
    what: &'static str,
    is: impl Fn(&Partition) -> bool,
) -> Result<Option<&'a Partition>, Conflict> {
    let found: Vec<_> = partitions.iter().filter(|partition| is(partition)).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => Err(Conflict::Partitions { disk: disk.path.display().to_string(), count: several.len(), what }),
    }
}

/// Chooses the disk that holds the partition `loader` (PARTUUID), or, where the loader named none, the only disk that
/// has both an EFI system partition and a root partition.
///
/// # Errors
/// When more than one disk or partition qualifies.
pub fn choose(disks: &[Table], loader: Option<&str>) -> Result<Found, Conflict> {
    let is_esp = |partition: &Partition| match loader {
        Some(guid) => partition.guid.is(guid),
        None => partition.type_guid.is(gpt::ESP),
    };
    let is_root = |partition: &Partition| partition.type_guid.is(gpt::ROOT);
    let claims = |(_, partitions): &&Table| {
        partitions.iter().any(is_esp) && (loader.is_some() || partitions.iter().any(is_root))
    };
    let (disk, partitions) = match disks.iter().filter(claims).collect::<Vec<_>>().as_slice() {
        [] => {
            return Ok(Found::NotYet(match loader {
                Some(guid) => format!("no disk has the partition {guid}, from which the loader was started"),
                None => "no disk has both an EFI system partition and a root partition".to_owned(),
            }));
        }
        [one] => *one,
        [first, second, ..] => {
            return Err(Conflict::Disks {
                first: first.0.path.display().to_string(),
                second: second.0.path.display().to_string(),
            });
        }
    };
    let esp = only(disk, partitions, "EFI system", is_esp)?;
    let root = only(disk, partitions, "root", is_root)?;
    let var = only(disk, partitions, "/var", |partition| partition.type_guid.is(gpt::VAR))?;
    let (Some(esp), Some(root)) = (esp, root) else {
        return Ok(Found::NotYet(format!(
            "{}, from which the loader was started, has no root partition",
            disk.path.display()
        )));
    };
    Ok(Found::Ours(Box::new(Ours { disk: disk.clone(), esp: esp.clone(), root: root.clone(), var: var.cloned() })))
}

/// Every disk that can be read, and what was wrong with the others.
fn look() -> Result<(Vec<Table>, Vec<String>)> {
    let (mut tables, mut odd) = (Vec::new(), Vec::new());
    for disk in block::disks().context("looking for disks")? {
        match block::partitions(&disk) {
            Ok(partitions) => tables.push((disk, partitions)),
            // It vanished, is still being read, or is somebody else's broken one.
            Err(error) => odd.push(format!("{:#}", anyhow::Error::from(error))),
        }
    }
    Ok((tables, odd))
}

/// Has inserted what the hardware asks for until the disk we booted from is there with a root partition.
///
/// # Errors
/// When it does not come in time, or two claim to be it.
pub fn find(modules: &mut Modules, loader: Option<&str>) -> Result<Ours> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (tables, odd) = look()?;
        match choose(&tables, loader)? {
            Found::Ours(ours) => {
                for oddity in odd {
                    console::warning(&format!("passing over a disk: {oddity}"));
                }
                return Ok(*ours);
            }
            Found::NotYet(what) if Instant::now() >= deadline => {
                let names: Vec<_> = tables.iter().map(|(disk, _)| disk.name.as_str()).collect();
                let odd = odd.iter().map(|odd| format!("; {odd}")).collect::<String>();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
                bail!("waiting {} s for the disk we booted from: {what} (disks: {names}{odd})", LIMIT.as_secs());
            }
            Found::NotYet(_) => {}
        }
        modules.wait_for_disk(Instant::now() + PAUSE)?;
    }
}

/// Looks once more, when every driver has looked at its hardware: `ours` must still be the only one.
///
/// # Errors
/// When another claimant came meanwhile.
pub fn confirm(modules: &mut Modules, ours: &Ours, loader: Option<&str>, found: Instant) -> Result<()> {
    modules.finish()?;
    thread::sleep((found + SETTLE).saturating_duration_since(Instant::now()));
    match choose(&look()?.0, loader)? {
        Found::Ours(again) if again.root == ours.root => Ok(()),
        Found::Ours(again) => bail!(
            "the root partition moved from {} to {} while we mounted it",
            ours.root.path.display(),
            again.root.path.display()
        ),
        Found::NotYet(what) => bail!("the disk we booted from went away: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use rocketos_sys::gpt::Guid;

    use super::*;

    fn guid(number: u32) -> Guid {
        Guid::parse(&format!("{number:08x}-0000-0000-0000-000000000000")).unwrap()
    }

    /// A disk of partitions of a type and a PARTUUID.
    fn disk(name: &str, partitions: &[(&str, u32)]) -> Table {
        let parts = (1..).zip(partitions).map(|(number, (type_guid, id))| Partition {
            name: format!("{name}{number}"),
            path: format!("/dev/{name}{number}").into(),
            number,
            type_guid: Guid::parse(type_guid).unwrap(),
            guid: guid(*id),
            label: String::new(),
            start: 1 << 20,
            size: 1 << 20,
        });
        let disk = Disk { name: name.into(), path: format!("/dev/{name}").into(), sector: 512, size: 1 << 30 };
        (disk, parts.collect())
    }

    fn chosen(disks: &[Table], loader: Option<u32>) -> Result<String, String> {
        let loader = loader.map(|id| guid(id).as_str().to_uppercase());
        match choose(disks, loader.as_deref()) {
            Ok(Found::Ours(ours)) => Ok(ours.root.name),
            Ok(Found::NotYet(what)) => Err(what),
            Err(conflict) => Err(conflict.to_string()),
        }
    }

    const OTHER: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

    #[test]
    fn takes_the_root_on_the_disk_the_loader_came_from() {
        let ours = disk("vdb", &[(gpt::ESP, 1), (gpt::ROOT, 2), (gpt::VAR, 3)]);
        let theirs = disk("vda", &[(gpt::ESP, 4), (gpt::ROOT, 5)]);
        assert_eq!(chosen(&[theirs, ours.clone()], Some(1)), Ok("vdb2".into()));
        let Found::Ours(found) = choose(&[ours], None).unwrap() else {
            panic!("it is there");
        };
        assert_eq!(found.var.unwrap().name, "vdb3");
        assert_eq!(found.esp.name, "vdb1");
    }

    #[test]
    fn waits_for_what_is_not_there() {
        for (disks, loader, what) in [
            (vec![], Some(1), "no disk has the partition 00000001-"),
            (vec![disk("vda", &[(gpt::ESP, 2), (gpt::ROOT, 3)])], Some(1), "no disk"),
            (vec![disk("vda", &[(gpt::ESP, 1), (OTHER, 3)])], Some(1), "/dev/vda, from"),
            (vec![disk("vda", &[(gpt::ESP, 1), (OTHER, 3)])], None, "no disk has both"),
            (vec![disk("vda", &[(gpt::ROOT, 1)])], None, "no disk has both"),
        ] {
            let message = chosen(&disks, loader).unwrap_err();
            assert!(message.starts_with(what), "{message}");
        }
    }

    #[test]
    fn refuses_two_claimants() {
        let one = disk("vda", &[(gpt::ESP, 1), (gpt::ROOT, 2)]);
        let copy = disk("vdb", &[(gpt::ESP, 1), (gpt::ROOT, 2)]);
        let half_copy = disk("vdb", &[(gpt::ESP, 1)]);
        let other = disk("vdb", &[(gpt::ESP, 3), (gpt::ROOT, 4)]);
        let both = "/dev/vda and /dev/vdb both claim";
        for (disks, loader) in [
            ([one.clone(), copy.clone()], Some(1)),
            ([one.clone(), half_copy], Some(1)),
            ([one.clone(), other], None),
            ([one, copy], None),
        ] {
            let message = chosen(&disks, loader).unwrap_err();
            assert!(message.starts_with(both), "{message}");
        }
    }

    #[test]
    fn refuses_two_partitions_of_a_kind() {
        for (partitions, loader, what) in [
            (vec![(gpt::ESP, 1), (gpt::ROOT, 2), (gpt::ROOT, 3)], Some(1), "2 root"),
            (vec![(gpt::ESP, 1), (gpt::ROOT, 2), (gpt::ROOT, 3)], None, "2 root"),
            (vec![(gpt::ESP, 1), (gpt::ESP, 1), (gpt::ROOT, 3)], Some(1), "2 EFI"),
            (vec![(gpt::ESP, 1), (gpt::ESP, 2), (gpt::ROOT, 3)], None, "2 EFI"),
            (vec![(gpt::ESP, 1), (gpt::ROOT, 2), (gpt::VAR, 3), (gpt::VAR, 4)], Some(1), "2 /var"),
        ] {
            let message = chosen(&[disk("vda", &partitions)], loader).unwrap_err();
            assert!(message.contains(what), "{message}");
        }
    }
}

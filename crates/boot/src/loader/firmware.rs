//! The firmware's boot manager (UEFI 2.10, chapter 3): which programs it starts, in which order, and which one only once.

use std::path::Path;

use rocketos_sys::efivar::{EFIVARS, LOADER_DEVICE_PART_UUID, LOADER_IMAGE_IDENTIFIER, Variables};

use rocketos_model::{layout::esp::LOADERS, limits};

use super::load_option::{EspPartition, load_option, starts_below};
use crate::BootError;

/// `EFI_GLOBAL_VARIABLE`.
const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// What people see in the firmware's menu.
const DESCRIPTION: &str = "Rocket OS";
/// How often a loader is in the order. One that cannot start a kernel goes back to the firmware, which takes the next
/// option: so a kernel that is damaged uses up its tries in one go, and the one before is started last.
pub const PASSES: u16 = limits::TRIES as u16 + 1;

/// The boot manager of this machine.
#[derive(Debug, Clone)]
pub struct Firmware {
    variables: Variables,
    esp: EspPartition,
}

fn name(variable: &str) -> String {
    format!("{variable}-{VENDOR}")
}

fn option_name(number: u16) -> String {
    name(&format!("Boot{number:04X}"))
}

fn numbers(value: &[u8]) -> Vec<u16> {
    value.as_chunks::<2>().0.iter().map(|number| u16::from_le_bytes(*number)).collect()
}

impl Firmware {
    /// That of this machine, whose ESP is the partition `esp`; absent where it shows no variables.
    ///
    /// # Errors
    /// When they cannot be listed, or the disk's table cannot be read.
    pub fn of_machine(esp: &Path) -> Result<Option<Self>, BootError> {
        let variables = Variables::at(EFIVARS);
        match variables.any()? {
            true => Ok(Some(Self::at(variables, EspPartition::of_device(esp)?))),
            false => Ok(None),
        }
    }

    /// That with these variables.
    pub fn at(variables: Variables, esp: EspPartition) -> Self {
        Self { variables, esp }
    }

    /// The file that the running loader was started from, relative to the ESP; absent where it did not say, or came from
    /// another partition.
    ///
    /// # Errors
    /// When firmware does not answer.
    pub fn running(&self) -> Result<Option<String>, BootError> {
        let partition = self.variables.text(LOADER_DEVICE_PART_UUID)?;
        if !partition.is_some_and(|text| self.esp.guid.is(&text)) {
            return Ok(None);
        }
        let path = self.variables.text(LOADER_IMAGE_IDENTIFIER)?;
        Ok(path.map(|path| path.trim_start_matches('\\').replace('\\', "/")))
    }

    /// The options there are.
    fn options(&self) -> Result<Vec<u16>, BootError> {
        let suffix = name("");
        let number = |name: &String| {
            let digits = name.strip_prefix("Boot")?.strip_suffix(&suffix)?;
            (digits.len() == 4).then(|| u16::from_str_radix(digits, 16).ok())?
        };
        Ok(self.variables.names()?.iter().filter_map(number).collect())
    }

    fn order(&self) -> Result<Vec<u16>, BootError> {
        Ok(numbers(&self.variables.value(&name("BootOrder"))?.unwrap_or_default()))
    }

    fn set_order(&self, order: &[u16]) -> Result<(), BootError> {
        let value: Vec<u8> = order.iter().flat_map(|number| number.to_le_bytes()).collect();
        Ok(self.variables.set(&name("BootOrder"), &value)?)
    }

    /// The option that starts `relative` in this pass.
    fn option_of(&self, relative: &str, pass: u16) -> Vec<u8> {
        let description = match pass {
            0 => DESCRIPTION.to_owned(),
            again => format!("{DESCRIPTION} ({})", again + 1),
        };
        load_option(&description, &self.esp, relative)
    }

    /// The number of the option that starts `relative` in this pass.
    fn find(&self, relative: &str, pass: u16) -> Result<Option<u16>, BootError> {
        let wanted = self.option_of(relative, pass);
        for number in self.options()? {
            if self.variables.value(&option_name(number))?.is_some_and(|value| value == wanted) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// The numbers of the options that start `relative`, in order of their passes; absent where one is missing.
    fn all(&self, relative: &str) -> Result<Option<Vec<u16>>, BootError> {
        (0..PASSES).map(|pass| self.find(relative, pass)).collect()
    }

    /// An option that starts `relative`, made where there is none; it is in no order yet.
    fn ensure(&self, relative: &str, pass: u16) -> Result<u16, BootError> {
        if let Some(number) = self.find(relative, pass)? {
            return Ok(number);
        }
        let taken = self.options()?;
        // An order may name an option that is gone; a new one of that number would boot by itself.
        let ordered = self.order()?;
        let free = (0..=u16::MAX).find(|number| !taken.contains(number) && !ordered.contains(number));
        let number = free.ok_or(BootError::NoOption)?;
        self.variables.set(&option_name(number), &self.option_of(relative, pass))?;
        Ok(number)
    }

    /// True for an option that starts a loader of ours, whichever.
    fn is_ours(&self, number: u16) -> Result<bool, BootError> {
        let value = self.variables.value(&option_name(number))?.unwrap_or_default();
        Ok(starts_below(&value, &self.esp, LOADERS))
    }

    /// True when the next boot, and only that one, begins with `relative`.
    ///
    /// # Errors
    /// When firmware does not answer.
    pub fn is_next(&self, relative: &str) -> Result<bool, BootError> {
        let next = self.variables.value(&name("BootNext"))?.unwrap_or_default();
        Ok(self.find(relative, 0)?.is_some_and(|number| numbers(&next) == [number]))
    }

    /// Makes the next boot, and only that one, begin with `relative`: whatever it does not bring up, the order does.
    ///
    /// # Errors
    /// When firmware keeps no variables.
    pub fn set_next(&self, relative: &str) -> Result<(), BootError> {
        let number = self.ensure(relative, 0)?;
        Ok(self.variables.set(&name("BootNext"), &number.to_le_bytes())?)
    }

    /// True when `relative` is in the order, [`PASSES`] times, and before any other loader of ours.
    ///
    /// # Errors
    /// When firmware does not answer.
    pub fn is_kept(&self, relative: &str) -> Result<bool, BootError> {
        let Some(wanted) = self.all(relative)? else { return Ok(false) };
        for (at, number) in self.order()?.into_iter().enumerate() {
            if self.is_ours(number)? {
                return Ok(self.order()?.get(at..).is_some_and(|rest| rest.starts_with(&wanted)));
            }
        }
        Ok(false)
    }

    /// Puts `relative` into the order, [`PASSES`] times, before the loader of ours that is there, otherwise before what
    /// booted now: what somebody wants to come before that still does.
    ///
    /// # Errors
    /// When firmware keeps no variables.
    pub fn keep(&self, relative: &str) -> Result<(), BootError> {
        let numbers = (0..PASSES).map(|pass| self.ensure(relative, pass)).collect::<Result<Vec<_>, _>>()?;
        let order = self.order()?;
        let current = self.variables.value(&name("BootCurrent"))?.unwrap_or_default();
        let mut place = None;
        for (at, number) in order.iter().enumerate() {
            if self.is_ours(*number)? || number.to_le_bytes() == *current {
                place = Some(at);
                break;
            }
        }
        let (before, after) = order.split_at(place.unwrap_or_default());
        let others = |order: &[u16]| order.iter().filter(|other| !numbers.contains(other)).copied().collect::<Vec<_>>();
        self.set_order(&[others(before), numbers.clone(), others(after)].concat())
    }

    /// Removes the options that start `relative`, first from the order; absence is success.
    ///
    /// # Errors
    /// When firmware keeps no variables.
    pub fn forget(&self, relative: &str) -> Result<(), BootError> {
        for pass in 0..PASSES {
            let Some(number) = self.find(relative, pass)? else { continue };
            let mut order = self.order()?;
            if order.contains(&number) {
                order.retain(|other| *other != number);
                self.set_order(&order)?;
            }
            self.variables.remove(&option_name(number))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rocketos_sys::gpt::Guid;

    use super::*;

    const GUID: &str = "f586c90a-35a3-a8f2-4943-3ef0837cdce3";
    const A: &str = "EFI/systemd/systemd-boot-a.efi";
    const B: &str = "EFI/systemd/systemd-boot-b.efi";

    fn firmware(directory: &Path) -> Firmware {
        let guid = Guid::parse(GUID).unwrap();
        Firmware::at(Variables::at(directory), EspPartition { number: 1, start: 2048, sectors: 99, guid })
    }

    fn put(directory: &Path, name: &str, value: &[u8]) {
        fs::write(directory.join(name), [&7_u32.to_le_bytes()[..], value].concat()).unwrap();
    }

    fn order(directory: &Path) -> Vec<u16> {
        numbers(&fs::read(directory.join(name("BootOrder"))).unwrap()[4..])
    }

    #[test]
    fn is_started_once_and_then_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (path, firmware) = (directory.path(), firmware(directory.path()));
        for number in [0, 7] {
            put(path, &option_name(number), b"somebody's");
        }
        // Number 1 is in the order and gone: taken all the same.
        put(path, &name("BootOrder"), &[7, 0, 0, 0, 1, 0]);
        put(path, &name("BootCurrent"), &[0, 0]);
        firmware.set_next(A).unwrap();
        assert!(firmware.is_next(A).unwrap() && !firmware.is_kept(A).unwrap() && !firmware.is_next(B).unwrap());
        assert_eq!((order(path), firmware.find(A, 0).unwrap()), (vec![7, 0, 1], Some(2)));
        // Before what booted, behind what somebody put before that.
        firmware.keep(A).unwrap();
        assert_eq!(order(path), [7, 2, 3, 4, 5, 0, 1]);
        firmware.keep(B).unwrap();
        assert_eq!(order(path), [7, 6, 8, 9, 10, 2, 3, 4, 5, 0, 1]);
        assert!(firmware.is_kept(B).unwrap() && !firmware.is_kept(A).unwrap());
        firmware.keep(A).unwrap();
        assert_eq!(order(path), [7, 2, 3, 4, 5, 6, 8, 9, 10, 0, 1]);
        firmware.keep(A).unwrap();
        firmware.forget(B).unwrap();
        firmware.forget(B).unwrap();
        assert_eq!((order(path), firmware.options().unwrap()), (vec![7, 2, 3, 4, 5, 0, 1], vec![0, 2, 3, 4, 5, 7]));
        // One pass is gone.
        put(path, &name("BootOrder"), &[7, 0, 2, 0, 4, 0, 5, 0, 0, 0]);
        assert!(!firmware.is_kept(A).unwrap());
        firmware.keep(A).unwrap();
        assert_eq!(order(path), [7, 2, 3, 4, 5, 0]);
    }

    #[test]
    fn knows_the_running_loader_by_partition_and_path() {
        let directory = tempfile::tempdir().unwrap();
        let (path, firmware) = (directory.path(), firmware(directory.path()));
        let text = |text: &str| text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        assert_eq!(firmware.running().unwrap(), None);
        put(path, LOADER_IMAGE_IDENTIFIER, &text("\\EFI\\SYSTEMD\\SYSTEMD-BOOT-A.EFI"));
        assert_eq!(firmware.running().unwrap(), None);
        put(path, LOADER_DEVICE_PART_UUID, &text(&GUID.to_uppercase()));
        assert_eq!(firmware.running().unwrap().as_deref(), Some("EFI/SYSTEMD/SYSTEMD-BOOT-A.EFI"));
        put(path, LOADER_DEVICE_PART_UUID, &text("00000000-35a3-a8f2-4943-3ef0837cdce3"));
        assert_eq!(firmware.running().unwrap(), None);
    }

    #[test]
    fn an_order_of_odd_length_and_options_that_are_none_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let (path, firmware) = (directory.path(), firmware(directory.path()));
        put(path, &name("BootOrder"), &[5, 0, 7]);
        fs::write(path.join(option_name(9)), b"x").unwrap();
        fs::write(path.join(name("BootXYZW")), b"").unwrap();
        firmware.keep(A).unwrap();
        assert_eq!(order(path), [0, 1, 2, 3, 5]);
    }
}

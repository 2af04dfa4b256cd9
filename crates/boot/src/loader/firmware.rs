//! The firmware's boot manager (UEFI 2.10, chapter 3): which programs it starts, in which order, and which one only once.

use std::path::Path;

use rocketos_sys::efivar::{EFIVARS, LOADER_DEVICE_PART_UUID, LOADER_IMAGE_IDENTIFIER, Variables};

use super::load_option::{EspPartition, firmware_path, load_option};
use crate::BootError;

/// `EFI_GLOBAL_VARIABLE`.
const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// What people see in the firmware's menu, before the loader's file name.
const DESCRIPTION: &str = "Rocket OS";

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

    fn option_of(&self, relative: &str) -> Vec<u8> {
        let file = relative.rsplit('/').next().unwrap_or(relative);
        load_option(&format!("{DESCRIPTION} ({file})"), &self.esp, relative)
    }

    /// The number of the option that starts `relative`.
    fn find(&self, relative: &str) -> Result<Option<u16>, BootError> {
        let wanted = self.option_of(relative);
        for number in self.options()? {
            if self.variables.value(&option_name(number))?.is_some_and(|value| value == wanted) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// An option that starts `relative`, made where there is none; it is in no order yet.
    fn ensure(&self, relative: &str) -> Result<u16, BootError> {
        if let Some(number) = self.find(relative)? {
            return Ok(number);
        }
        let taken = self.options()?;
        // An order may name an option that is gone; a new one of that number would boot by itself.
        let ordered = self.order()?;
        let free = (0..=u16::MAX).find(|number| !taken.contains(number) && !ordered.contains(number));
        let number = free.ok_or(BootError::NoOption)?;
        self.variables.set(&option_name(number), &self.option_of(relative))?;
        Ok(number)
    }

    /// True when the next boot, and only that one, begins with `relative`.
    ///
    /// # Errors
    /// When firmware does not answer.
    pub fn is_next(&self, relative: &str) -> Result<bool, BootError> {
        let next = self.variables.value(&name("BootNext"))?.unwrap_or_default();
        Ok(self.find(relative)?.is_some_and(|number| numbers(&next) == [number]))
    }

    /// Makes the next boot, and only that one, begin with `relative`: whatever it does not bring up, the order does.
    ///
    /// # Errors
    /// When firmware keeps no variables.
    pub fn set_next(&self, relative: &str) -> Result<(), BootError> {
        let number = self.ensure(relative)?;
        Ok(self.variables.set(&name("BootNext"), &number.to_le_bytes())?)
    }

    /// True when every boot begins with `relative`.
    ///
    /// # Errors
    /// When firmware does not answer.
    pub fn is_first(&self, relative: &str) -> Result<bool, BootError> {
        let first = self.order()?.first().copied();
        Ok(first.is_some() && first == self.find(relative)?)
    }

    /// Makes every boot begin with `relative`; what came first comes after it.
    ///
    /// # Errors
    /// When firmware keeps no variables.
    pub fn set_first(&self, relative: &str) -> Result<(), BootError> {
        let number = self.ensure(relative)?;
        let mut order = self.order()?;
        order.retain(|other| *other != number);
        order.insert(0, number);
        self.set_order(&order)
    }

    /// Removes the option that starts `relative`, first from the order; absence is success.
    ///
    /// # Errors
    /// When firmware keeps no variables.
    pub fn forget(&self, relative: &str) -> Result<(), BootError> {
        let Some(number) = self.find(relative)? else { return Ok(()) };
        let mut order = self.order()?;
        if order.contains(&number) {
            order.retain(|other| *other != number);
            self.set_order(&order)?;
        }
        Ok(self.variables.remove(&option_name(number))?)
    }

    /// True where the running loader was started from `relative`; FAT does not tell letters' cases apart.
    ///
    /// # Errors
    /// When firmware does not answer.
    pub fn runs(&self, relative: &str) -> Result<bool, BootError> {
        let running = self.running()?;
        Ok(running.is_some_and(|running| firmware_path(&running).eq_ignore_ascii_case(&firmware_path(relative))))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rocketos_sys::gpt::Guid;

    use super::*;

    const GUID: &str = "f586c90a-35a3-a8f2-4943-3ef0837cdce3";
    const A: &str = "EFI/systemd/a.efi";
    const B: &str = "EFI/systemd/b.efi";

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
    fn tries_once_and_then_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let (path, firmware) = (directory.path(), firmware(directory.path()));
        put(path, &option_name(0), b"somebody's");
        // Number 1 is in the order and gone: taken all the same.
        put(path, &name("BootOrder"), &[0, 0, 1, 0]);
        firmware.set_next(A).unwrap();
        assert!(firmware.is_next(A).unwrap() && !firmware.is_first(A).unwrap() && !firmware.is_next(B).unwrap());
        assert_eq!((order(path), firmware.find(A).unwrap()), (vec![0, 1], Some(2)));
        firmware.set_first(A).unwrap();
        firmware.set_first(B).unwrap();
        assert_eq!(order(path), [3, 2, 0, 1]);
        assert!(firmware.is_first(B).unwrap());
        firmware.set_first(A).unwrap();
        assert_eq!(order(path), [2, 3, 0, 1]);
        firmware.forget(B).unwrap();
        firmware.forget(B).unwrap();
        assert_eq!((order(path), firmware.options().unwrap()), (vec![2, 0, 1], vec![0, 2]));
    }

    #[test]
    fn knows_the_running_loader_by_partition_and_path() {
        let directory = tempfile::tempdir().unwrap();
        let (path, firmware) = (directory.path(), firmware(directory.path()));
        let text = |text: &str| text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        assert_eq!(firmware.running().unwrap(), None);
        put(path, LOADER_IMAGE_IDENTIFIER, &text("\\EFI\\SYSTEMD\\A.EFI"));
        assert_eq!(firmware.running().unwrap(), None);
        put(path, LOADER_DEVICE_PART_UUID, &text(&GUID.to_uppercase()));
        assert!(firmware.runs(A).unwrap() && !firmware.runs(B).unwrap());
        put(path, LOADER_DEVICE_PART_UUID, &text("00000000-35a3-a8f2-4943-3ef0837cdce3"));
        assert!(!firmware.runs(A).unwrap());
    }

    #[test]
    fn an_order_of_odd_length_and_options_that_are_none_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let (path, firmware) = (directory.path(), firmware(directory.path()));
        put(path, &name("BootOrder"), &[5, 0, 7]);
        fs::write(path.join(option_name(9)), b"x").unwrap();
        fs::write(path.join(name("BootXYZW")), b"").unwrap();
        firmware.set_first(A).unwrap();
        assert_eq!(order(path), [0, 5]);
    }
}

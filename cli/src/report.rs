//! What happened: a boot as a picture, and a node as an archive of what it has to say.

mod boot;
mod entry;
pub mod logs;
mod svg;

use std::ops::ControlFlow;

use anyhow::ensure;

use crate::adapters::{journalctl, systemctl};

pub use self::boot::Boot;
use self::entry::{Entry, FIELDS};

/// A boot, from the journal; what was before the kernel from systemd, which has it from the firmware.
pub fn boot(number: i32) -> anyhow::Result<Boot> {
    let mut boot = Boot::default();
    journalctl::of_boot(number, FIELDS, |line| match Entry::parse(line) {
        Some(entry) => boot.take(&entry),
        None => ControlFlow::Continue(()),
    })?;
    ensure!(!boot.is_empty(), "the journal has nothing of boot {number}");
    if number == 0 {
        let [firmware, loader] = systemctl::before_the_kernel()?;
        boot.began_before(firmware, loader);
    }
    Ok(boot)
}

/// The picture.
pub fn picture(boot: &Boot) -> String {
    svg::draw(boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a machine's journal had of a boot, as journalctl of systemd 257 wrote it; most of the kernel's words are left out.
    const RECORDED: &str = include_str!("report/data/boot.json");

    fn recorded() -> Boot {
        let mut boot = Boot::default();
        let taken =
            RECORDED.lines().filter_map(Entry::parse).take_while(|entry| boot.take(entry).is_continue()).count();
        assert!(taken > 50, "{taken} entries say something of a boot");
        boot.began_before(3_900_000, 1_000_000);
        boot
    }

    #[test]
    fn reads_a_recorded_boot() {
        let boot = recorded();
        let phases: Vec<_> = boot.phases().into_iter().map(|phase| (phase.name, phase.end_us)).collect();
        let expected = [
            ("firmware", -1_000_000),
            ("loader", 0),
            ("kernel", 5_615_206),
            ("initramfs", 9_868_334),
            ("user space", 50_572_681),
        ];
        assert_eq!(phases, expected);
        let unit = |name: &str| boot.units().iter().find(|unit| unit.name == name).unwrap();
        let took = |name: &str| unit(name).took(boot.end());
        // One that only the kernel's log has, and one that systemd told the journal of.
        assert!(unit("systemd-journald.service").start_us < unit("systemd-networkd.service").start_us);
        assert!(took("systemd-networkd.service") > 100_000 && took("systemd-journald.service") > 100_000);
        assert!(boot.units().iter().all(|unit| unit.end_us.is_some() && !unit.failed), "{:?}", boot.units());
        let document: serde_json::Value = serde_json::from_str(&boot.document().unwrap()).unwrap();
        assert_eq!(document["complete_us"], 50_572_681);
        assert_eq!(document["phases"][2]["name"], "kernel");
    }

    #[test]
    fn draws_it() {
        let picture = picture(&recorded());
        if let Some(file) = std::env::var_os("ROCKETOS_TEST_PICTURE") {
            std::fs::write(file, &picture).unwrap();
        }
        for words in ["Boot complete after 54.5 s", "initramfs 4.3 s", "user space 40.7 s", "systemd-networkd.service"]
        {
            assert!(picture.contains(words), "'{words}' in {picture}");
        }
        // A small picture, whose bars are inside and whose words nobody takes for markup.
        assert!(picture.len() < 32 << 10, "{} bytes", picture.len());
        let inside =
            |text: &str| text.split('"').next().unwrap().parse::<f64>().is_ok_and(|x| (0.0..=1000.0).contains(&x));
        assert!(picture.split(" x=\"").skip(1).all(inside), "{picture}");
        let line =
            r#"{"__MONOTONIC_TIMESTAMP":"5","MESSAGE_ID":"7d4958e842da4a758f6c1cdc7b36dcc5","UNIT":"<b>&.service"}"#;
        let mut boot = Boot::default();
        assert!(boot.take(&Entry::parse(line).unwrap()).is_continue());
        let picture = self::picture(&boot);
        assert!(
            picture.contains("&lt;b&gt;&amp;.service was not done") && picture.contains("not complete"),
            "{picture}"
        );
    }
}

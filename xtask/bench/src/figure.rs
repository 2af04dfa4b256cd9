//! Figures, each beside its budget.

use serde_json::{Value, json};

/// The most a figure should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget(pub(super) f64);

/// Names of figures that README shows too.
pub(super) mod name {
    pub(crate) const STANDALONE: &str = "standalone: compressed, without firmware and kernel modules";
    pub(crate) const WHOLE: &str = "standalone: compressed";
    pub(crate) const MODULES: &str = "standalone: of it the layers of kernel modules";
    pub(crate) const KERNEL: &str = "sealed image: kernel";
    pub(crate) const INITRAMFS: &str = "sealed image: initramfs";
    pub(crate) const USER_SPACE: &str = "sealed image: user space";
    pub(crate) const MEMORY: &str = "sealed image: memory in use after boot, podman idle";
    pub(crate) const USER_SPACE_BEFORE: &str = "user space, in times of the image before";
}

/// Compressed bytes of sealed standalone without firmware and kernel modules, which are named apart, in MB.
pub(super) const STANDALONE_MB: Budget = Budget(100.0);
/// Memory in use after boot with podman idle, in MiB.
pub(super) const MEMORY_MIB: Budget = Budget(120.0);
/// User space's time in a boot, in times of what it was.
pub(super) const USER_SPACE: Budget = Budget(0.6);
/// The initramfs without storage drivers, in MB.
pub(super) const INITRAMFS_MB: Budget = Budget(1.5);
/// The initramfs's time, in times of initramfs-tools'.
pub(super) const INITRAMFS_TIME: Budget = Budget(1.0 / 3.0);
/// CPU of pull and stage, in times of `podman pull`'s.
pub(super) const PULL_CPU: Budget = Budget(0.6);
/// Peak memory of an upgrade, in MiB.
pub(super) const UPGRADE_MIB: Budget = Budget(48.0);
/// Bytes of the store for five releases, in times of their unique bytes.
pub(super) const FIVE_RELEASES: Budget = Budget(1.1);

/// One line of a table.
#[derive(Debug)]
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    budget: Option<Budget>,
}

/// What a measurement found.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<Figure>);

impl Figures {
    /// Adds a figure without a budget.
    pub(super) fn add(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.0.push(Figure { what: what.into(), value, unit, budget: None });
    }

    /// Adds a figure with one.
    pub(super) fn add_budgeted(&mut self, what: impl Into<String>, value: f64, unit: &'static str, budget: Budget) {
        self.0.push(Figure { what: what.into(), value, unit, budget: Some(budget) });
    }

    /// A table for people.
    pub(super) fn table(&self) -> String {
        let width = self.0.iter().map(|figure| figure.what.chars().count()).max().unwrap_or(0);
        let mut table = String::new();
        for Figure { what, value, unit, budget } in &self.0 {
            let said = match budget {
                Some(Budget(most)) if value <= most => format!("  at most {most:.2}: kept"),
                Some(Budget(most)) => format!("  at most {most:.2}: MISSED"),
                None => String::new(),
            };
            table.push_str(&format!("  {what:<width$}  {value:>10.2} {unit:<7}{said}\n"));
        }
        table
    }

    /// The same for programs.
    pub(super) fn json(&self, name: &str) -> String {
        let figures: Vec<Value> = self
            .0
            .iter()
            .map(|figure| {
                let budget = figure.budget.map(|Budget(most)| most);
                json!({ "what": figure.what, "value": figure.value, "unit": figure.unit, "budget": budget })
            })
            .collect();
        format!("{:#}\n", json!({ "measurement": name, "figures": figures }))
    }
}

/// The middle one; of an even number, the upper of the two.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Bytes in MB.
pub(super) fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_budget_is_missed() {
        let mut figures = Figures::default();
        figures.add_budgeted("kept", 0.59, "x", PULL_CPU);
        figures.add_budgeted("not kept", 0.61, "x", PULL_CPU);
        let table = figures.table();
        assert!(table.contains("kept"), "{table}");
        assert_eq!(table.matches("MISSED").count(), 1, "{table}");
    }

    #[test]
    fn takes_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([7.0]), 7.0);
    }
}

//! `firewall`.

use crate::{
    args::{Firewall, FirewallShow},
    firewall::Shown,
};

/// Says what is open.
pub fn run(Firewall::Show(args): &Firewall) -> anyhow::Result<()> {
    let FirewallShow { root, json, script } = args;
    let shown = Shown::of(root)?;
    match (json, script) {
        (true, _) => println!("{}", shown.document()),
        (_, true) => print!("{}", shown.script()),
        _ => print!("{}", shown.in_words()),
    }
    Ok(shown.sound()?)
}

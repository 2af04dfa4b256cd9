//! Another program in a host container: the unit that it has.

use rocketos_model::layout::inside;
use rocketos_settings::{
    Settings,
    render::{Inside, host_container_unit, inside_host_container},
};

use crate::adapters::transient::Unit;

/// A unit `rocketos-<kind>-….service` whose program is where the container's own unit has its program, and never for longer than
/// that; with it, the label of a terminal there. None where settings have no such container that is enabled.
pub fn program_in(
    settings: &Settings,
    container: &str,
    kind: &str,
    description: &str,
    command: &[String],
) -> Option<(Unit, String)> {
    let Inside { lines, terminal } = inside_host_container(settings, container)?;
    let own = host_container_unit(container);
    // The program of the system's image by which the container started; it knows the image's user and variables.
    let words: Vec<String> = std::iter::once(format!("/{}", inside::ENTER)).chain(command.iter().cloned()).collect();
    let unit = Unit::new(kind, description, &words).literally().with("BindsTo", &own).with("After", &own);
    Some((lines.iter().fold(unit, |unit, (key, value)| unit.with(key, value)), terminal))
}

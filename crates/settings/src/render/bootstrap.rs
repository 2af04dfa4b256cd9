//! Bootstrap containers: what each is to run, its user data, and its unit, as a host container's ([`super::host_containers`]).
//!
//! Nothing starts a unit because its file is there: what is done at a boot, and whether it is, [`crate::bootstrap`] says. So nobody is told
//! but the manager, which reads units.

use rocketos_model::layout;

use super::{
    Files, Service, ToRun,
    host_containers::{SUPERPOWERED, Shape},
    node::toml,
};
use crate::{
    Settings,
    model::{BootstrapContainer, Mode, value::Word},
};

/// The unit of a bootstrap container.
pub fn unit(name: &str) -> String {
    format!("rocketos-bootstrap-container-{name}.service")
}

/// The unit that mounts its image.
pub fn image(name: &str) -> String {
    format!("rocketos-bootstrap-container-image@{name}.service")
}

pub(super) fn render(settings: &Settings, files: &mut Files) {
    for (name, container) in &settings.bootstrap_containers {
        // There in settings that are sound.
        let (Some(Mode::Once | Mode::Always), Some(source)) = (container.mode, &container.source) else { continue };
        let texts = |words: &Vec<Word>| words.iter().map(|word| word.as_str().to_owned()).collect();
        let to_run = ToRun {
            source: source.placed().clone(),
            label: format!("system_u:object_r:container_file_t:{SUPERPOWERED}"),
            persistent: false,
            command: container.command.as_ref().map(texts).unwrap_or_default(),
            env: container.env.iter().map(|(name, value)| (name.to_string(), value.as_str().to_owned())).collect(),
        };
        let ground = layout::bootstrap_container(name.as_str());
        let below = |folder: &str| folder.trim_start_matches('/').to_owned();
        let declared = format!("{}/{ground}.toml", below(layout::node::HOST_CONTAINERS));
        files.put(declared, Service::Nobody, toml(&to_run));
        if let Some(data) = &container.user_data {
            let run = below(layout::node::HOST_CONTAINERS_RUN);
            let path = format!("{run}/{ground}/{}", layout::host_container::USER_DATA);
            files.put_private(&path, Service::Nobody, data.reveal());
        }
        let text = service_of(name.as_str(), &ground, container);
        files.put(format!("etc/systemd/system/{}", unit(name.as_str())), Service::Manager, text);
    }
}

/// The unit's file: it ends with its program, and how that ended can be asked for until it is stopped.
fn service_of(name: &str, ground: &str, container: &BootstrapContainer) -> String {
    let shape = Shape {
        description: format!("Bootstrap container {name} of the settings"),
        image: image(name),
        ground,
        user_data: container.user_data.is_some(),
        persistent: false,
        superpowered: true,
        level: SUPERPOWERED,
        memory: container.memory,
        cpu_percent: container.cpu_percent,
    };
    shape.unit("oneshot", &[("RemainAfterExit", "yes".to_owned())])
}

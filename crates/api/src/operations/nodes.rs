//! The node: what it is, its health, updates, and what runs beside it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Answer, Asked, Body, Document, Method, Nothing, Operation, ROLLBACK, Run, Says, UPDATE, of, read, update, whole,
};
use crate::{
    Kind, Problem, openapi,
    wire::{Event, Exec, Health, HostContainer, HostContainers, Step},
};

pub(super) const ALL: &[Operation] = &[
    Operation {
        problems: UPDATE,
        ..read(
            "showStatus",
            "/v1/status",
            "What runs, what boots next and what is kept: bootc's host document, with our facts beside it.",
            Says::Json(of::<Document>),
            Run::Work(status),
        )
    },
    read("showHealth", "/v1/health", "What health checks came to last.", Says::Json(of::<Health>), Run::Work(health)),
    Operation {
        problems: &[Kind::NotFound],
        ..read(
            "showReport",
            "/v1/reports/{name}",
            "A report; 'boot' has the phases of this boot, and how long units took.",
            Says::Json(of::<Document>),
            Run::Work(report),
        )
    },
    Operation {
        changes: true,
        problems: &[Kind::Busy],
        ..read(
            "takeReport",
            "/v1/reports/logs",
            "What the node has to say of itself, as files of report.d declare it: a tar archive, deflated, without secrets of settings.",
            Says::Archive,
            Run::Work(logs),
        )
    },
    Operation {
        // Who looks into the store is the updater.
        problems: UPDATE,
        ..read(
            "listHostContainers",
            "/v1/host-containers",
            "Host containers: as settings have them, the image that the node has of each, and how its unit stands.",
            Says::Json(of::<HostContainers>),
            Run::Work(host_containers),
        )
    },
    Operation {
        method: Method::Post,
        changes: true,
        body: Body::Of(of::<Exec>),
        status: 101,
        problems: EXEC,
        ..read(
            "exec",
            "/v1/host-containers/{container}/exec",
            "Starts a program in a host container that runs; the connection becomes the program's, and says frames from then on.",
            Says::Nothing,
            Run::Exec,
        )
    },
    update("refreshUpdate", "/v1/update/refresh", "Looks for something newer.", Run::Work(refresh)),
    update("prepareUpdate", "/v1/update/prepare", "Brings it, and leaves the boot order alone.", Run::Work(prepare)),
    update("activateUpdate", "/v1/update/activate", "Boots next what was brought.", Run::Work(activate)),
    update("deactivateUpdate", "/v1/update/deactivate", "Boots next what runs.", Run::Work(deactivate)),
    update("rebootNode", "/v1/update/reboot", "Reboots in order.", Run::Work(reboot)),
    Operation {
        query: whole::<Back>,
        problems: ROLLBACK,
        ..update(
            "rollBack",
            "/v1/rollback",
            "Boots the previous deployment next; again, to take that back.",
            Run::Work(rollback),
        )
    },
    read(
        "listen",
        "/v1/events",
        "Server-sent events, beginning with how things are: settings, update, health, and lost where a reader is too slow.",
        Says::Events(of::<Event>),
        Run::Events,
    ),
    read(
        "showDescription",
        "/v1/openapi.json",
        "This description.",
        Says::Json(of::<Document>),
        Run::Work(description),
    ),
];

/// What may go wrong where a program is started.
const EXEC: &[Kind] = &[
    Kind::Malformed,
    Kind::NotFound,
    Kind::Timeout,
    Kind::NothingToDo,
    Kind::TooLarge,
    Kind::MediaType,
    Kind::TooMany,
    Kind::Invalid,
];

/// The query of what goes back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Back {
    /// To which deployment, by the beginning of its id.
    #[serde(default)]
    #[schemars(extend("pattern" = "^[0-9A-Fa-f]+$"))]
    to: Option<String>,
}

fn document(value: Value) -> Answer {
    Answer { body: Some(value), ..Answer::empty() }
}

fn status(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    Ok(document(asked.shared.node.status()?))
}

fn health(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    Answer::of(&Health::from(asked.shared.node.health()?))
}

fn report(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    let name = asked.parameter("name");
    let none = || Problem::new(Kind::NotFound, format!("there is no report '{name}'; there are 'boot' and 'logs'"));
    asked.shared.node.report(name)?.map(document).ok_or_else(none)
}

fn logs(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    Ok(Answer { bytes: Some(asked.shared.node.logs()?), ..Answer::empty() })
}

fn host_containers(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    let mut containers: Vec<HostContainer> = Vec::new();
    let mut running = asked.shared.node.host_containers()?;
    for set in asked.shared.node.standing()?.settings {
        let [group, name, field] = set.key.names() else { continue };
        if group != "host-containers" {
            continue;
        }
        // By key: those of one container follow each other.
        if containers.last().is_none_or(|last| last.name != *name) {
            let (name, source) = (name.clone(), None);
            let (image, unit) = running.remove(&name).unwrap_or_default();
            containers.push(HostContainer { name, enabled: false, source, superpowered: false, image, unit });
        }
        let Some(container) = containers.last_mut() else { continue };
        match field.as_str() {
            "enabled" => container.enabled = set.value == true,
            "superpowered" => container.superpowered = set.value == true,
            "source" => container.source = set.value.as_str().map(str::to_owned),
            _ => {}
        }
    }
    Answer::of(&HostContainers { containers })
}

/// Does a step, and has whoever listens hear of it.
fn heard(
    asked: &Asked,
    step: &str,
    work: impl FnOnce(&(dyn Fn(Value) + Send + Sync)) -> Result<Value, Problem>,
) -> Result<Answer, Problem> {
    let tell = |state: &str, told: Option<Value>| {
        let (step, state) = (step.to_owned(), state.to_owned());
        asked.shared.news.tell(Event::Update { step, state, told });
    };
    tell("began", None);
    match work(&|progress| tell("progress", Some(progress))) {
        Ok(value) => {
            tell("done", Some(value.clone()));
            Ok(document(value))
        }
        Err(problem) => {
            tell("failed", serde_json::to_value(&problem).ok());
            Err(problem)
        }
    }
}

fn step(asked: &Asked, step: Step) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    heard(asked, step.name(), |hear| asked.shared.node.update(step, hear))
}

fn refresh(asked: &Asked) -> Result<Answer, Problem> {
    step(asked, Step::Refresh)
}

fn prepare(asked: &Asked) -> Result<Answer, Problem> {
    step(asked, Step::Prepare)
}

fn activate(asked: &Asked) -> Result<Answer, Problem> {
    step(asked, Step::Activate)
}

fn deactivate(asked: &Asked) -> Result<Answer, Problem> {
    step(asked, Step::Deactivate)
}

fn reboot(asked: &Asked) -> Result<Answer, Problem> {
    step(asked, Step::Reboot)
}

fn rollback(asked: &Asked) -> Result<Answer, Problem> {
    let Back { to } = asked.query()?;
    if to.as_ref().is_some_and(|to| to.is_empty() || !to.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(Problem::new(Kind::Malformed, "a deployment is named by the beginning of its id, in hexadecimal"));
    }
    heard(asked, "rollback", |_| asked.shared.node.rollback(to.as_deref()))
}

fn description(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    Ok(document(openapi::value()))
}

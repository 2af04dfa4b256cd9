//! bootc's host document (`org.containers.bootc/v1`), with our facts under `rocketos`.

use rocketos_deploy::{Deployment, Roles};
use rocketos_model::DeploymentId;
use serde_json::{Value, json};

/// The document of a machine in these roles.
pub fn document(roles: &Roles, downloaded: Option<&DeploymentId>) -> Value {
    let entry = |deployment: &Option<Deployment>| match deployment {
        Some(deployment) => entry(deployment, downloaded),
        None => Value::Null,
    };
    let followed = roles.staged.as_ref().or(roles.booted.as_ref());
    let next = roles.next();
    json!({
        "apiVersion": "org.containers.bootc/v1",
        "kind": "BootcHost",
        "metadata": { "name": "host" },
        "spec": {
            "image": followed.map(reference),
            "bootOrder": if roles.rollback_queued { "rollback" } else { "default" },
        },
        "status": {
            "booted": entry(&roles.booted),
            "staged": entry(&roles.staged),
            "rollback": entry(&roles.rollback),
            "rollbackQueued": roles.rollback_queued,
            "otherDeployments":
                roles.others.iter().map(|deployment| self::entry(deployment, downloaded)).collect::<Vec<_>>(),
            "readOnly": false,
            "type": roles.booted.as_ref().map(|_| "bootcHost"),
            "usrOverlay": Value::Null,
            "rocketos": {
                "next": next.map(|deployment| deployment.id),
                "downloaded": downloaded,
            },
        },
    })
}

fn reference(deployment: &Deployment) -> Value {
    let image = &deployment.origin.image;
    json!({ "image": image.name(), "transport": image.transport() })
}

fn entry(deployment: &Deployment, downloaded: Option<&DeploymentId>) -> Value {
    let origin = &deployment.origin;
    json!({
        "image": {
            "image": reference(deployment),
            "version": origin.version,
            "timestamp": origin.created,
            "imageDigest": origin.manifest_digest,
            "architecture": origin.architecture,
        },
        "cachedUpdate": Value::Null,
        "incompatible": false,
        "pinned": deployment.pinned,
        "downloadOnly": downloaded == Some(&deployment.id),
        "softRebootCapable": false,
        "store": Value::Null,
        "ostree": Value::Null,
        "composefs": {
            "verity": origin.composefs_digest,
            "bootType": "Uki",
            "bootloader": "systemd",
            "bootDigest": Value::Null,
            "missingVerityAllowed": false,
        },
        "rocketos": {
            "deployment": deployment.id,
            "composefsDigest": origin.composefs_digest,
            "variant": origin.variant,
            "kernel": origin.kernel,
            "good": deployment.is_good(),
            "bootable": deployment.is_bootable(),
            "entries": deployment.entries.iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>(),
        },
    })
}

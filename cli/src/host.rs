//! bootc's host document (`org.containers.bootc/v1`), with our facts under `rocketos`.

use rocketos_deploy::{Deployment, Roles};
use rocketos_model::DeploymentId;
use serde_json::{Value, json};

/// The document of a machine in these roles.
///
/// `channel` is what the channel it follows says, `itself` what it does without a person, `health` what its checks
/// came to and what failed here, `loader` what is with the image's loader.
pub fn document(
    roles: &Roles,
    downloaded: Option<&DeploymentId>,
    channel: Option<&Value>,
    itself: Option<&Value>,
    health: Option<&Value>,
    loader: Option<&Value>,
) -> Value {
    let entry = |deployment: &Option<Deployment>| match deployment {
        Some(deployment) => entry(deployment, downloaded),
        None => Value::Null,
    };
    let followed = roles.followed();
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
                "channel": channel,
                "itself": itself,
                "health": health,
                "loader": loader,
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
            "channel": origin.channel,
            "kernel": origin.kernel,
            "good": deployment.is_good(),
            "bootable": deployment.is_bootable(),
            "entries": deployment.entries.iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>(),
        },
    })
}

#[cfg(test)]
mod tests {
    use rocketos_boot::Entry;
    use rocketos_model::{EntryName, Origin, Tries};

    use super::*;

    const SCHEMA: &str = include_str!("../../tests/data/bootc-host-v1.schema.json");

    /// A deployment; `tries` as in its entry, or none where it has no entry.
    fn deployment(byte: &str, sequence: u64, tries: Option<Option<Tries>>) -> Deployment {
        let id: DeploymentId = byte.repeat(16).parse().unwrap();
        let entry = |tries| Entry { name: EntryName { sequence, deployment: id, tries } };
        Deployment {
            id,
            origin: Origin {
                image: "docker://registry.example/rocketos/dev:stable".parse().unwrap(),
                manifest_digest: format!("sha256:{}", byte.repeat(32)).parse().unwrap(),
                composefs_digest: byte.repeat(64).parse().unwrap(),
                uki: "6.12.0.efi".into(),
                kernel: "6.12.0".into(),
                version: Some("1.0.0".into()),
                variant: Some("dev".into()),
                created: Some("2026-01-01T00:00:00Z".into()),
                architecture: "amd64".into(),
                channel: None,
            },
            entries: tries.map(entry).into_iter().collect(),
            pinned: false,
        }
    }

    fn good(byte: &str, sequence: u64) -> Deployment {
        deployment(byte, sequence, Some(None))
    }

    fn tried(byte: &str, sequence: u64, left: u32) -> Deployment {
        deployment(byte, sequence, Some(Some(Tries { left, done: 3 - left })))
    }

    /// The document, which must be what bootc's schema says.
    fn valid(roles: &Roles, downloaded: Option<&DeploymentId>) -> Value {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let document = document(roles, downloaded, None, None, None, None);
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> =
            validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{document:#}");
        document
    }

    #[test]
    fn every_shape_is_what_the_schema_says() {
        valid(&Roles::default(), None);
        let fresh = Roles { booted: Some(good("aa", 1)), ..Roles::default() };
        let document = valid(&fresh, None);
        assert_eq!(document["status"]["booted"]["rocketos"]["good"], true);
        assert_eq!(document["spec"]["image"]["transport"], "registry");

        let staged = Roles { staged: Some(tried("bb", 2, 3)), ..fresh.clone() };
        let document = valid(&staged, None);
        assert_eq!(document["status"]["rocketos"]["next"], "bb".repeat(16));
        assert_eq!(document["status"]["staged"]["rocketos"]["good"], false);

        let queued = Roles { rollback: Some(good("cc", 3)), rollback_queued: true, ..fresh.clone() };
        let document = valid(&queued, None);
        assert_eq!(
            (&document["spec"]["bootOrder"], &document["status"]["rollbackQueued"]),
            (&json!("rollback"), &json!(true))
        );
        assert_eq!(document["status"]["rocketos"]["next"], "cc".repeat(16));

        let pinned = Roles { others: vec![Deployment { pinned: true, ..good("dd", 4) }], ..fresh.clone() };
        assert_eq!(valid(&pinned, None)["status"]["otherDeployments"][0]["pinned"], true);

        let failed = Roles { others: vec![tried("ee", 5, 0)], ..fresh.clone() };
        let document = valid(&failed, None);
        assert_eq!(document["status"]["otherDeployments"][0]["rocketos"]["bootable"], false);

        let waiting = deployment("ff", 0, None);
        let id = waiting.id;
        let document = valid(&Roles { others: vec![waiting], ..fresh }, Some(&id));
        assert_eq!(document["status"]["otherDeployments"][0]["downloadOnly"], true);
        assert_eq!(document["status"]["rocketos"]["downloaded"], "ff".repeat(16));
    }

    #[test]
    fn an_image_that_says_nothing_of_itself_is_no_less_valid() {
        let mut bare = good("aa", 1);
        bare.origin = Origin { version: None, variant: None, created: None, ..bare.origin };
        bare.origin.image = "oci:/media/usb".parse().unwrap();
        valid(&Roles { booted: Some(bare), ..Roles::default() }, None);
    }
}

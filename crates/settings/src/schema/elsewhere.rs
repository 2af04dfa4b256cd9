//! Keys that Bottlerocket has and we do not: what to use instead. `docs/settings.md` lists them, and a test holds both together.

use crate::Key;

/// Keys, each with what to do; `*` stands for any name. The first that the key lies within counts.
pub const ELSEWHERE: &[(&str, &str)] = &[
    (
        "boot.kernel-parameters",
        "the command line is signed with the kernel; arguments of a machine are signed addons, which `rocketctl kargs` brings",
    ),
    ("boot.init-parameters", "the command line is signed with the kernel; what systemd is told belongs to the image"),
    ("boot.reboot-to-reconcile", "arguments of a machine count from the next boot that somebody asks for"),
    ("boot", "what boots is signed; arguments of a machine are signed addons, which `rocketctl kargs` brings"),
    ("container-runtime.max-container-log-line-size", "podman logs to the journal, whose lines systemd bounds"),
    ("container-runtime.snapshotter", "podman's storage driver belongs to the image"),
    ("ntp.options", "systemd-timesyncd has no options per server; set ntp.time-servers"),
    ("updates.metadata-base-url", "set updates.channel and updates.from, the place of release metadata"),
    (
        "updates.targets-base-url",
        "set updates.channel and updates.from; images come from the registry that a release names",
    ),
    ("oci-defaults", "limits and capabilities of containers go into raw.\"containers/containers.conf.d/….conf\""),
    ("oci-hooks", "hooks are programs, and programs come with the image"),
    ("aws", "identity comes from the platform's metadata, with the user data"),
    ("cloudformation", "send the signal from a bootstrap container, which runs before the node counts as configured"),
    ("autoscaling", "wait in a bootstrap container with essential = true"),
    ("ecs", "it comes with the variant that has this orchestrator; there is none yet"),
    ("kubernetes", "it comes with the variant that has this orchestrator; there is none yet"),
    ("kubelet-device-plugins", "it comes with the variant that has this orchestrator; there is none yet"),
    ("nvidia-container-runtime", "drivers that are not in Debian's kernel come with a variant of their own"),
];

/// What to do instead of setting a key.
pub(super) fn instead(key: &Key) -> Option<&'static str> {
    let within = |names: &str| {
        let mut names = names.split('.');
        let mut own = key.names().iter();
        names.all(|name| own.next().is_some_and(|own| name == "*" || name == own))
    };
    ELSEWHERE.iter().find(|(names, _)| within(names)).map(|(_, instead)| *instead)
}

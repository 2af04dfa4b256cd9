//! Each check against an image that lacks just that.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use super::{Finding, LintOptions, Outcome, Severity, checks, lint};
use crate::fixture::{Fixture, KERNEL};

const POLICY: &str = "usr/lib/rocketos/trust/policy.toml";

fn failed(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.check.as_str()).collect()
}

fn write(root: &Path, path: &str) {
    fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
    fs::write(root.join(path), "content").unwrap();
}

#[test]
fn finds_nothing_wrong_with_a_sealed_image() {
    let fixture = Fixture::new();
    let image = fixture.image(&fixture.seal("out").0);
    assert_eq!(lint(&image, &fixture.lint_options()), []);
}

#[test]
fn finds_each_fault_by_its_name() {
    type Fault = fn(&Path);
    let faults: [(&str, Fault); 20] = [
        ("api-base-directories", |root| fs::remove_dir(root.join("proc")).unwrap()),
        ("baseimage-root", |root| fs::remove_file(root.join("ostree")).unwrap()),
        ("baseimage-composefs", |root| fs::remove_file(root.join("usr/lib/ostree/prepare-root.conf")).unwrap()),
        ("bootc-kargs", |root| write(root, "usr/lib/bootc/kargs.d/10.toml")),
        ("buildah-injected", |root| fs::write(root.join("etc/hostname"), "").unwrap()),
        ("build-only", |root| write(root, "usr/bin/dpkg")),
        ("composefs-digest", |root| write(root, "usr/share/more")),
        ("dangling-links", |root| symlink("/usr/lib/nothing", root.join("usr/bin/x")).unwrap()),
        ("etc-usretc", |root| write(root, "usr/etc/x")),
        ("kernel", |root| write(root, &format!("usr/lib/modules/{KERNEL}/vmlinuz"))),
        ("nonempty-boot", |root| write(root, "boot/grub.cfg")),
        ("nonempty-run-tmp", |root| write(root, "run/x")),
        ("os-release", |root| fs::write(root.join("usr/lib/os-release"), "ID=x\n").unwrap()),
        ("permissions", |root| {
            write(root, "usr/bin/su");
            fs::set_permissions(root.join("usr/bin/su"), fs::Permissions::from_mode(0o4755)).unwrap();
        }),
        ("trust-policy", |root| fs::remove_file(root.join(POLICY)).unwrap()),
        ("trust-policy", |root| fs::write(root.join(POLICY), "[default]\naccept = 'unsigned'\n").unwrap()),
        ("trust-policy-etc", |root| {
            fs::create_dir_all(root.join("etc/rocketos/trust/policy.d")).unwrap();
            fs::write(root.join("etc/rocketos/trust/policy.d/a.toml"), "").unwrap();
        }),
        ("trust-root", |root| fs::write(root.join("usr/lib/rocketos/trust/root.json"), "{}").unwrap()),
        ("trust-policy-syntax", |root| fs::write(root.join(POLICY), "[default]\n").unwrap()),
        ("var-content", |root| write(root, "var/lib/x")),
    ];
    for (name, fault) in faults {
        let fixture = Fixture::new();
        let image = fixture.image(&fixture.seal("out").0);
        fault(&image);
        let findings = lint(&image, &fixture.lint_options());
        assert!(failed(&findings).contains(&name), "{name}: {findings:?}");
        // Any fault in the tree also shows in its digest, and nothing else does.
        let others: Vec<_> =
            failed(&findings).into_iter().filter(|other| ![name, "composefs-digest"].contains(other)).collect();
        assert!(others.is_empty(), "{name}: {others:?}");
    }
}

#[test]
fn finds_a_kernel_without_what_is_required() {
    let fixture = Fixture::new();
    let image = fixture.image(&fixture.seal("out").0);
    fixture.rule("config.required", "CONFIG_FS_VERITY=y\n# CONFIG_EROFS_FS is not set\n");
    let findings = lint(&image, &fixture.lint_options());
    assert_eq!(
        findings[0].outcome,
        Outcome::Failed(
            "the kernel lacks: CONFIG_FS_VERITY=y (nothing), CONFIG_EROFS_FS unset (CONFIG_EROFS_FS=y)".to_owned()
        )
    );
}

#[test]
fn finds_accounts_and_folders_nobody_makes() {
    let fixture = Fixture::new();
    fixture.file("etc/group", "root:x:0:\nstray:x:99:\n");
    fixture.file("usr/lib/tmpfiles.d/var.conf", "d /var/lib\n");
    let image = fixture.image(&fixture.seal("out").0);
    let findings = lint(&image, &fixture.lint_options());
    assert_eq!(failed(&findings), ["sysusers", "var-tmpfiles"]);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Warning));
    assert_eq!(findings[0].outcome, Outcome::Failed("no file of sysusers.d declares: group stray".to_owned()));
}

#[test]
fn allows_what_a_rule_names() {
    let fixture = Fixture::new();
    let image = fixture.image(&fixture.seal("out").0);
    write(&image, "usr/bin/newuidmap");
    fs::set_permissions(image.join("usr/bin/newuidmap"), fs::Permissions::from_mode(0o4755)).unwrap();
    fixture.rule("permissions.allowed", "/usr/bin/newuidmap # rootless containers\n");
    assert_eq!(failed(&lint(&image, &fixture.lint_options())), ["composefs-digest"]);
}

#[test]
fn finds_a_shell_in_a_finished_image() {
    let fixture = Fixture::new();
    let image = fixture.image(&fixture.seal("out").0);
    write(&image, "usr/bin/dash");
    fixture.rule("forbidden", "shell path /usr/bin/dash\n");
    assert_eq!(failed(&lint(&image, &fixture.lint_options())), ["composefs-digest", "minimal"]);
}

#[test]
fn skips_by_name_and_refuses_a_name_it_does_not_know() {
    let fixture = Fixture::new();
    let image = fixture.image(&fixture.seal("out").0);
    write(&image, "var/lib/x");
    let options = LintOptions {
        skip: vec!["var-content".to_owned(), "var-contents".to_owned(), "composefs-digest".to_owned()],
        ..fixture.lint_options()
    };
    let findings = lint(&image, &options);
    assert_eq!(failed(&findings), ["var-contents"]);
    assert!(matches!(findings[0].outcome, Outcome::NotRun(_)));
}

#[test]
fn a_policy_for_containers_is_no_policy_for_nodes_without_a_warning() {
    let fixture = Fixture::new();
    fixture.file("etc/containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
    let image = fixture.image(&fixture.seal("out").0);
    assert_eq!(lint(&image, &fixture.lint_options()), []);
    fs::remove_file(image.join(POLICY)).unwrap();
    let options = LintOptions { skip: vec!["composefs-digest".to_owned()], ..fixture.lint_options() };
    let findings = lint(&image, &options);
    assert_eq!(failed(&findings), ["trust-policy"]);
    let said = format!("{:?}", findings[0].outcome);
    assert!(said.contains("asks for no signature") && said.contains("policy.json"), "{said}");
}

#[test]
fn lists_checks_in_order_with_a_reason_each() {
    let all: Vec<_> = checks().collect();
    assert!(all.windows(2).all(|pair| pair[0].name < pair[1].name));
    assert!(all.iter().all(|check| check.reason.ends_with('.')));
}

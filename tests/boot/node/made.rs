//! Makes the node of `tests/data/node`: keys, two releases that are signed, host containers that sealing fixes, a container's image that
//! is signed, and one that is not.
//!
//! Its firmware's keys are rotated between the releases: the first is sealed with the old, the second with the new.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rocketos_tests::command::Run;
use rocketos_tests::credentials::base64;
use rocketos_tests::fixture::Fixture;
use rocketos_tests::images::{copy_out, podman_build};
use rocketos_tests::installer::{self, Install};
use rocketos_tests::{Format, Images, Progress, paths};

/// Its releases.
pub const VERSIONS: [&str; 2] = ["1.0.0", "1.0.1"];
/// What it is called among variants, and in the registry.
const VARIANT: &str = "node";
const REPOSITORY: &str = "rocketos/node";
/// What it follows.
const TAG: &str = "stable";
/// The container's image in podman's storage.
const APP: &str = "localhost/rocketos/test-app";
/// Who signs: the system's releases, and containers' images.
const KEYS: [&str; 2] = ["vendor", "app"];
/// Who comes to `admin` by ssh.
const OPERATOR: &str = "operator";
/// Directories of Secure Boot's keys, for a release each.
const FIRMWARE_KEYS: [&str; 2] = ["keys", "keys-2"];
/// Where the image has what of them is public, an addon with a kernel argument, and what is revoked.
const PUBLIC: &str = "tree/usr/share/node";
/// The kernel argument that the node gets when it runs.
pub const ARGUMENT: &str = "hugepages=2";

/// What is ready to be booted.
pub struct Made {
    /// The first release, installed.
    pub disk: PathBuf,
    /// The private key of who may come by ssh.
    pub operator: PathBuf,
    /// The digest of the last release's `admin`, which no other release names.
    newest_admin: String,
}

impl Made {
    /// Builds, signs and installs.
    pub fn ready(fixture: &Fixture, progress: &Progress) -> Result<Self> {
        let context = context(fixture)?;
        let conf = registries(fixture)?;
        firmware_keys(&context)?;
        let operator = operator(fixture, &context)?;
        let control = host_container(fixture, progress, &conf, &context, "control", VERSIONS[0])?;
        let (mut first, mut newest_admin) = (String::new(), String::new());
        for (version, keys) in VERSIONS.into_iter().zip(FIRMWARE_KEYS) {
            let admin = host_container(fixture, progress, &conf, &context, "admin", version)?;
            ensure!(admin != newest_admin, "two versions of admin are one image");
            let keys = context.join(keys);
            std::fs::copy(keys.join("db.crt"), context.join("db.crt")).context("copying a certificate")?;
            let images = Images::new(progress).secret("db", &keys.join("db.key"));
            let images = images.host_container("control", &control).host_container("admin", &admin);
            let release = images.derived(&context.join("Containerfile"), VARIANT, version)?;
            let digest = images.push(&release.image, &fixture.registry, REPOSITORY, version)?;
            first = if version == VERSIONS[0] { digest } else { first };
            newest_admin = admin;
            sign(fixture, &conf, &format!("{REPOSITORY}:{version}"), &context.join("vendor.pem"))?;
        }
        let images = Images::new(progress);
        progress.step("building a container's image", || app(fixture, &context))?;
        images.push(APP, &fixture.registry, "app/web", "1")?;
        sign(fixture, &conf, "app/web:1", &context.join("app.pem"))?;
        images.push(APP, &fixture.registry, "app/forged", "1")?;
        let seen = images.seen(&fixture.tools, "1")?;
        images.push(seen, &fixture.registry, "app/seen", "1")?;
        sign(fixture, &conf, "app/seen:1", &context.join("app.pem"))?;
        let disk = fixture.scratch().join("node.qcow2");
        let made = Self { disk, operator, newest_admin };
        made.tag(fixture, VERSIONS[0])?;
        let base = context.join("base.qcow2");
        let stamp = context.join("base.of");
        if !(base.exists() && std::fs::read_to_string(&stamp).is_ok_and(|of| of == first)) {
            install(fixture, progress, &base)?;
            std::fs::write(&stamp, first).with_context(|| format!("writing {}", stamp.display()))?;
        }
        fixture.tools.overlay(&base, Format::Qcow2, &made.disk)?;
        Ok(made)
    }

    /// Takes the last release's `admin` out of the registry: who does not have it gets it no more.
    pub fn withdraw_admin(&self, fixture: &Fixture) -> Result<()> {
        let name = format!("docker://{}/rocketos/admin@{}", fixture.registry.on_host(), self.newest_admin);
        fixture
            .tools
            .run("skopeo")
            .args(["--insecure-policy", "delete", "--tls-verify=false", &name])
            .quiet()
            .with_context(|| format!("removing {name}"))
    }

    /// Makes the tag that the node follows name a release.
    pub fn tag(&self, fixture: &Fixture, version: &str) -> Result<()> {
        let name = |tag: &str| format!("docker://{}/{REPOSITORY}:{tag}", fixture.registry.on_host());
        fixture
            .tools
            .run("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .args([name(version), name(TAG)])
            .quiet()
            .with_context(|| format!("naming {version} {TAG}"))
    }
}

/// Pushes and signs a host container of this checkout, and returns its digest.
fn host_container(
    fixture: &Fixture,
    progress: &Progress,
    conf: &Path,
    context: &Path,
    name: &str,
    version: &str,
) -> Result<String> {
    let images = Images::new(progress);
    let image = images.container(name, version)?;
    let repository = format!("rocketos/{name}");
    let digest = images.push(&image, &fixture.registry, &repository, version)?;
    sign(fixture, conf, &format!("{repository}:{version}"), &context.join("vendor.pem"))?;
    Ok(digest)
}

/// Makes the key of who comes by ssh, and user data by which `admin` lets them in.
fn operator(fixture: &Fixture, context: &Path) -> Result<PathBuf> {
    let key = context.join(OPERATOR);
    if !key.exists() {
        let keygen = fixture.tools.run("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", OPERATOR, "-f"]).arg(&key).quiet()?;
    }
    let public = key.with_extension("pub");
    let public = std::fs::read_to_string(&public).with_context(|| format!("reading {}", public.display()))?;
    let data = serde_json::json!({ "user": OPERATOR, "ssh": { "authorized-keys": [public.trim()] } });
    let data = base64(data.to_string().as_bytes());
    let file = context.join("tree/usr/lib/rocketos/settings.d/60-admin.toml");
    let text = format!("[settings.host-containers.admin]\nenabled = true\nuser-data = \"{data}\"\n");
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(key)
}

fn install(fixture: &Fixture, progress: &Progress, disk: &Path) -> Result<()> {
    let from = format!("docker://{}/{REPOSITORY}:{TAG}", fixture.registry.on_host());
    let follows = format!("docker://{}/{REPOSITORY}:{TAG}", fixture.registry.in_guest());
    let mut install = Install::new(&from, &follows);
    // The archive it is installed from bears no signature; what it takes later does.
    install.arguments = vec!["--policy=unsigned".to_owned(), "--secure-boot-keys=/usr/share/node/keys".to_owned()];
    installer::disk(&fixture.tools, progress, &install, disk)
}

/// A copy of `tests/data/node` with keys, kept, so that the images of the next run are the same.
fn context(fixture: &Fixture) -> Result<PathBuf> {
    let folder = paths::work().join("node");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let data = paths::workspace().join("tests/data/node");
    Run::new("cp").args(["--recursive", "--no-target-directory"]).arg(data).arg(&folder).quiet()?;
    for key in KEYS {
        let (private, public) = (format!("{key}.pem"), format!("{key}.pub"));
        if folder.join(&public).exists() {
            continue;
        }
        let openssl = |args: &[&str]| Run::new("openssl").args(args).cwd(&folder).quiet();
        // P-256 is what podman reads too.
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &private])?;
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &public])?;
    }
    let busybox = folder.join("app/busybox");
    std::fs::copy(fixture.tools.file("usr/bin/busybox"), busybox).context("copying busybox")?;
    Ok(folder)
}

/// Keys, their successors and what leads from these to those, as a person makes them; the private ones stay out of the image.
fn firmware_keys(context: &Path) -> Result<()> {
    let public = context.join(PUBLIC);
    let rocketctl = |arguments: &[&str]| {
        Run::new(paths::work().join("tools/rocketctl")).args(arguments).cwd(context).printed().quiet()
    };
    let [old, new] = FIRMWARE_KEYS;
    if !context.join(new).exists() {
        if !context.join(old).exists() {
            rocketctl(&["keys", "init", old])?;
        }
        rocketctl(&["keys", "rotate", old, new])?;
    }
    std::fs::create_dir_all(&public).with_context(|| format!("making {}", public.display()))?;
    for keys in FIRMWARE_KEYS {
        Run::new("cp")
            .args(["--recursive", "--no-target-directory", keys])
            .arg(public.join(keys))
            .cwd(context)
            .quiet()?;
    }
    for keys in FIRMWARE_KEYS {
        for role in ["PK", "KEK", "db"] {
            let private = public.join(keys).join(format!("{role}.key"));
            std::fs::remove_file(&private).with_context(|| format!("removing {}", private.display()))?;
        }
    }
    let [addon, update] = ["local.addon.efi", "revoked.auth"].map(|name| format!("{PUBLIC}/{name}"));
    if context.join(&update).exists() {
        return Ok(());
    }
    let scratch = tempfile::tempdir().context("making a folder for programs")?;
    let programs = scratch.path().join("efi");
    copy_out("localhost/rocketos/dev:1.0.0", "/usr/lib/systemd/boot/efi", &programs)?;
    let stub = programs.join("addonx64.efi.stub").display().to_string();
    rocketctl(&["keys", "addon", ARGUMENT, "--keys", new, "--output", &addon, "--stub", &stub])?;
    // What addons are made of, which nobody boots as it is.
    rocketctl(&["keys", "revoke", "--keys", new, "--output", &update, &stub])
}

fn app(fixture: &Fixture, context: &Path) -> Result<()> {
    ensure!(fixture.tools.file("usr/bin/busybox").exists(), "the tools hold no busybox");
    let app = context.join("app");
    podman_build().args(["-t", APP, "-f"]).arg(app.join("Containerfile")).arg(app).printed().quiet()
}

/// The registry has another address for guests, which signatures name.
fn registries(fixture: &Fixture) -> Result<PathBuf> {
    let (guest, host) = (fixture.registry.in_guest(), fixture.registry.on_host());
    let file = fixture.scratch().join("registries.conf");
    let text = format!("[[registry]]\nprefix = \"{guest}\"\nlocation = \"{host}\"\ninsecure = true\n");
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

fn sign(fixture: &Fixture, conf: &Path, image: &str, key: &Path) -> Result<()> {
    Run::new(paths::work().join("tools/rocketctl"))
        .args(["image", "sign", &format!("docker://{}/{image}", fixture.registry.in_guest())])
        .arg("--key")
        .arg(key)
        .env("CONTAINERS_REGISTRIES_CONF", conf)
        .printed()
        .quiet()
        .with_context(|| format!("signing {image}"))
}

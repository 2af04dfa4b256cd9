//! Who we are, whom we ask, and what belongs to an image.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rocketos_oci::{OciError, Reader};
use support::{
    config,
    image::{Image, gzipped, tar},
    proxy::{Fault, Proxy},
    pull, reader, reference,
    registry::Registry,
    store,
};
use tempfile::TempDir;

/// `Authorization` of user `a` with password `1`.
const BASIC: &str = "Basic YTox";

fn image() -> Image {
    Image::new(vec![gzipped(&tar(&[("a", &[7; 5000])]))])
}

/// A reader that knows user `a` of `host`.
fn with_login(directory: &TempDir, host: &str, others: &[&str]) -> Reader {
    let path = directory.path().join("auth.json");
    std::fs::write(&path, format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"YTox\"}}}}}}")).unwrap();
    let hosts: Vec<&str> = others.iter().copied().chain([host]).collect();
    let mut config = config(directory.path(), &hosts);
    config.auth_files = vec![path];
    Reader::new(config).unwrap()
}

#[tokio::test]
async fn logs_in_with_a_password_and_keeps_it_from_other_hosts() {
    let registry = Registry::start();
    registry.push("os/test", "1", &image()).await;
    let (proxy, elsewhere) = (Proxy::start(&registry.host), Proxy::start(&registry.host));
    proxy.fault("/v2/os", usize::MAX, Fault::Demand("Basic realm=\"x\"".to_owned(), BASIC)).fault(
        "/blobs/",
        usize::MAX,
        Fault::Redirect(elsewhere.host.clone()),
    );
    let directory = TempDir::new().unwrap();
    let name = format!("docker://{}/os/test:1", proxy.host);
    let store = store(directory.path());
    pull(&with_login(&directory, &proxy.host, &[]), &name, &store).await.unwrap();
    let seen = elsewhere.requests("/blobs/");
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request.authorization.is_none()), "{seen:?}");

    let error = pull(&reader(directory.path(), &[&proxy.host]), &name, &store).await.unwrap_err();
    assert!(matches!(error, OciError::Unauthorized { .. }), "{error:?}");
}

#[tokio::test]
async fn logs_in_with_a_token() {
    let registry = Registry::start();
    registry.push("os/test", "1", &image()).await;
    let proxy = Proxy::start(&registry.host);
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"s\"", proxy.host);
    proxy.fault("/v2/os", usize::MAX, Fault::Demand(challenge, "Bearer abc")).fault(
        "/token",
        usize::MAX,
        Fault::Json(BASIC, "{\"token\":\"abc\"}"),
    );
    let directory = TempDir::new().unwrap();
    let name = format!("docker://{}/os/test:1", proxy.host);
    pull(&with_login(&directory, &proxy.host, &[]), &name, &store(directory.path())).await.unwrap();
    let asked = proxy.requests("/token");
    assert_eq!(asked.len(), 1, "one token serves all requests");
    assert_eq!(asked[0].path, "/token?service=s&scope=repository%3Aos%2Ftest%3Apull");
    let error = pull(&reader(directory.path(), &[&proxy.host]), &name, &store(directory.path())).await.unwrap_err();
    assert!(matches!(error, OciError::Unauthorized { .. }), "{error:?}");
}

#[tokio::test]
async fn asks_the_mirror_first_and_then_the_location() {
    let registry = Registry::start();
    registry.push("os/test", "1", &image()).await;
    let (mirror, location) = (Proxy::start(&registry.host), Proxy::start(&registry.host));
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path(), &[]);
    let text = format!(
        "[[registry]]\nprefix = \"os.example/team\"\nlocation = \"{}/os\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"{}/os\"\ninsecure = true\n",
        location.host, mirror.host
    );
    std::fs::write(directory.path().join("registries.conf"), text).unwrap();
    config.auth_files = Vec::new();
    let reader = Reader::new(config).unwrap();
    let first = store(directory.path());
    pull(&reader, "docker://os.example/team/test:1", &first).await.unwrap();
    assert!(location.requests("/v2/os").is_empty());

    // A mirror that breaks in the middle is left behind, too.
    mirror.fault("/blobs/", usize::MAX, Fault::Status(500));
    let other = TempDir::new().unwrap();
    pull(&reader, "docker://os.example/team/test:1", &store(other.path())).await.unwrap();
    mirror.fault("/manifests/", usize::MAX, Fault::Status(404));
    let third = TempDir::new().unwrap();
    pull(&reader, "docker://os.example/team/test:1", &store(third.path())).await.unwrap();
    assert_eq!(location.requests("/manifests/").len(), 1);
}

#[tokio::test]
async fn follows_an_index_to_the_machines_entry() {
    let registry = Registry::start();
    let (amd64, other) = (image(), Image::new(vec![gzipped(&tar(&[("b", b"c")]))]));
    registry.push("os/test", "a", &amd64).await;
    registry.push("os/test", "b", &other).await;
    registry.push_index("os/test", "both", &[("s390x", &other), ("amd64", &amd64)]).await;
    registry.push_index("os/test", "none", &[("s390x", &other)]).await;
    let directory = TempDir::new().unwrap();
    let reader = reader(directory.path(), &[&registry.host]);
    let name = |tag: &str| reference(&format!("docker://{}/os/test:{tag}", registry.host));
    let resolved = reader.resolve(&name("both")).await.unwrap();
    assert_eq!(resolved.manifest_digest.to_string(), amd64.digest());
    let error = reader.resolve(&name("none")).await.unwrap_err();
    assert!(error.to_string().ends_with("has no image for linux/amd64; it has: linux/s390x"), "{error}");
}

#[tokio::test]
async fn attaches_and_finds_what_belongs_to_an_image() {
    let registry = Registry::start();
    registry.push("os/test", "1", &image()).await;
    let directory = TempDir::new().unwrap();
    let reader = reader(directory.path(), &[&registry.host]);
    let name = reference(&format!("docker://{}/os/test:1", registry.host));
    let kind = "application/vnd.cyclonedx+json";
    assert!(reader.referrers(&name, kind).await.unwrap().is_empty());
    let first = reader.attach(&name, kind, kind, b"{\"a\":1}".to_vec()).await.unwrap();
    let again = reader.attach(&name, kind, kind, b"{\"a\":1}".to_vec()).await.unwrap();
    assert_eq!(first, again);
    reader.attach(&name, "application/x", "text/plain", b"other".to_vec()).await.unwrap();
    reader.attach(&name, kind, kind, b"{\"a\":2}".to_vec()).await.unwrap();
    let found = reader.referrers(&name, kind).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].digest().to_string(), first.to_string());
    assert_eq!(reader.attached(&name, &found[0]).await.unwrap(), b"{\"a\":1}");
    let by_digest = name.with_digest(image().digest().parse().unwrap());
    assert_eq!(reader.referrers(&by_digest, "application/x").await.unwrap().len(), 1);
    let layout = reference("oci:/nowhere");
    let error = reader.attach(&layout, kind, kind, Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "oci:/nowhere is no registry's: attaching to it needs a docker:// reference");
}

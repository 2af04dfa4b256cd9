//! Reading from a registry, over a network that breaks.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use rocketos_model::DiffId;
use rocketos_oci::OciError;
use support::{
    Heard, chain,
    image::{Image, gzipped, noise, tar},
    proxy::{Fault, Proxy},
    pull, reader, reference,
    registry::Registry,
    store,
};
use tempfile::TempDir;

/// Bytes of the large layer.
const LARGE: usize = 3 << 20;

struct Scene {
    registry: Registry,
    proxy: Proxy,
    image: Image,
    directory: TempDir,
    name: String,
}

async fn scene() -> Scene {
    let registry = Registry::start();
    let proxy = Proxy::start(&registry.host);
    let image = Image::of_every_kind(LARGE);
    registry.push("os/test", "1", &image).await;
    let name = format!("docker://{}/os/test:1", proxy.host);
    Scene { registry, proxy, image, directory: TempDir::new().unwrap(), name }
}

impl Scene {
    fn reader(&self) -> rocketos_oci::Reader {
        reader(self.directory.path(), &[&self.proxy.host, &self.registry.host])
    }

    /// The error of pulling, and how many layers the store has afterwards.
    async fn fails(&self) -> (OciError, usize) {
        let store = store(self.directory.path());
        let error = pull(&self.reader(), &self.name, &store).await.unwrap_err();
        (error, self.present(&store))
    }

    fn present(&self, store: &rocketos_store::Store) -> usize {
        let has = |id: &str| store.has_layer(&id.parse::<DiffId>().unwrap()).unwrap();
        self.image.layers.iter().filter(|layer| has(&layer.diff_id)).count()
    }

    fn large(&self) -> String {
        format!("blobs/{}", self.image.layers[0].digest())
    }
}

#[tokio::test]
async fn fetches_every_layer_once() {
    let scene = scene().await;
    let (reader, store) = (scene.reader(), store(scene.directory.path()));
    let resolved = reader.resolve(&reference(&scene.name)).await.unwrap();
    assert_eq!(resolved.manifest, scene.image.manifest);
    assert_eq!(resolved.config, scene.image.config);
    assert_eq!(resolved.manifest_digest.to_string(), scene.image.digest());
    assert_eq!(resolved.label("containers.bootc"), Some("1"));
    let all: u64 = scene.image.layers.iter().map(|layer| layer.bytes.len() as u64).sum();
    assert_eq!(resolved.missing_bytes(&store).unwrap(), all);

    let heard = Heard::default();
    let stats = reader.fetch(&resolved, &store, &heard).await.unwrap();
    assert_eq!((stats.fetched_layers, stats.present_layers, stats.fetched_bytes), (4, 0, all));
    assert_eq!(*heard.bytes.lock().unwrap(), all);
    assert_eq!(scene.present(&store), 4);
    assert_eq!(resolved.missing_bytes(&store).unwrap(), 0);

    let before = scene.proxy.requests("blobs/").len();
    let again = reader.fetch(&resolved, &store, &Heard::default()).await.unwrap();
    assert_eq!((again.fetched_layers, again.present_layers), (0, 4));
    assert_eq!(scene.proxy.requests("blobs/").len(), before);
}

#[tokio::test]
async fn resumes_with_the_bytes_that_are_left() {
    let scene = scene().await;
    let path = scene.large();
    scene.proxy.fault(&path, 1, Fault::Cut(100_000)).fault(&path, 1, Fault::Status(503)).fault(
        &path,
        1,
        Fault::Cut(2_000_000),
    );
    let store = store(scene.directory.path());
    pull(&scene.reader(), &scene.name, &store).await.unwrap();
    assert_eq!(scene.present(&store), 4);
    let requests = scene.proxy.requests(&path);
    let ranges: Vec<_> = requests.iter().map(|request| request.range.clone()).collect();
    let from = |offset: u32| Some(format!("bytes={offset}-"));
    assert_eq!(ranges, [None, from(100_000), from(100_000), from(2_100_000)]);
    let sent: usize = requests.iter().map(|request| request.sent).sum();
    assert_eq!(sent, scene.image.layers[0].bytes.len());
}

#[tokio::test]
async fn resumes_after_silence() {
    let scene = scene().await;
    scene.proxy.fault(&scene.large(), 1, Fault::Stall(50_000));
    let store = store(scene.directory.path());
    pull(&scene.reader(), &scene.name, &store).await.unwrap();
    assert_eq!(scene.proxy.requests(&scene.large())[1].range.as_deref(), Some("bytes=50000-"));
}

#[tokio::test]
async fn reads_past_what_it_has_where_ranges_are_ignored() {
    let scene = scene().await;
    scene.proxy.fault(&scene.large(), 1, Fault::Cut(100_000)).fault(&scene.large(), 1, Fault::IgnoreRange);
    let store = store(scene.directory.path());
    pull(&scene.reader(), &scene.name, &store).await.unwrap();
    assert_eq!(scene.present(&store), 4);
}

#[tokio::test]
async fn gives_up_on_a_registry_that_keeps_failing() {
    let scene = scene().await;
    scene.proxy.fault(&scene.large(), 1, Fault::Cut(1000)).fault(&scene.large(), usize::MAX, Fault::Status(502));
    let (error, _) = scene.fails().await;
    assert!(matches!(error, OciError::ServerError { status: 502, attempts: 3, .. }), "{error:?}");
    scene.proxy.fault("manifests/", usize::MAX, Fault::Status(503));
    let (error, _) = scene.fails().await;
    assert!(chain(&error).ends_with("failed with status 503, 3 times"), "{error}");
}

#[tokio::test]
async fn gives_up_on_a_connection_that_keeps_breaking() {
    let scene = scene().await;
    scene.proxy.fault(&scene.large(), usize::MAX, Fault::Cut(1000));
    let (error, present) = scene.fails().await;
    assert!(matches!(error, OciError::Interrupted { attempts: 3, .. }), "{error:?}");
    assert!(present <= 3);
}

#[tokio::test]
async fn names_who_does_not_answer() {
    let directory = TempDir::new().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let name = format!("docker://127.0.0.1:{port}/os/test:1");
    let error = pull(&reader(directory.path(), &[]), &name, &store(directory.path())).await.unwrap_err();
    assert!(matches!(&error, OciError::Unreachable { registry, .. } if registry.ends_with(&port.to_string())));
    assert!(error.to_string().contains("is unreachable"));
}

#[tokio::test]
async fn speaks_plain_http_only_where_told_to() {
    let scene = scene().await;
    let error = pull(&reader(scene.directory.path(), &[]), &scene.name, &store(scene.directory.path())).await;
    let error = error.unwrap_err();
    assert!(matches!(error, OciError::Tls { .. } | OciError::Unreachable { .. }), "{error:?}");
    let name = format!("docker://{}/os/test:1", scene.registry.host);
    let error = pull(&reader(scene.directory.path(), &[]), &name, &store(scene.directory.path())).await;
    let error = error.unwrap_err();
    assert!(matches!(error, OciError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("insecure = true"));
}

#[tokio::test]
async fn names_what_is_not_there() {
    let scene = scene().await;
    let mut name = scene.name.clone();
    name.push('0');
    let error = pull(&scene.reader(), &name, &store(scene.directory.path())).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no such image: {name}"));
    scene.proxy.fault(&scene.large(), 1, Fault::Status(404));
    let (error, _) = scene.fails().await;
    assert!(matches!(error, OciError::MissingBlob { .. }), "{error:?}");
}

#[tokio::test]
async fn passes_on_what_the_registry_denies() {
    let scene = scene().await;
    for (status, wanted) in [(401, "wants a login"), (403, "denies access"), (429, "429"), (418, "status 418")] {
        scene.proxy.fault("manifests/", 3, Fault::Status(status));
        let (error, _) = scene.fails().await;
        assert!(chain(&error).contains(wanted), "{status}: {error}");
        scene.proxy.clear();
    }
}

#[tokio::test]
async fn stores_nothing_of_an_altered_layer() {
    let size = Image::of_every_kind(LARGE).layers[0].bytes.len();
    for at in [3, 20, size / 2, size - 1] {
        let scene = scene().await;
        scene.proxy.fault(&scene.large(), 1, Fault::Flip(at));
        let (error, _) = scene.fails().await;
        let named = scene.image.layers[0].digest();
        assert!(
            matches!(&error, OciError::LayerDigestMismatch { layer, .. } if layer.to_string() == named),
            "{error:?}"
        );
        let id: DiffId = scene.image.layers[0].diff_id.parse().unwrap();
        assert!(!store(scene.directory.path()).has_layer(&id).unwrap());
    }
}

#[tokio::test]
async fn refuses_a_layer_of_another_length() {
    for (fault, truncated) in [
        (Fault::Truncate(1000), true),
        (Fault::Append(1), false),
        (Fault::AppendUnannounced(1), false),
        (Fault::AppendUnannounced(100_000), false),
    ] {
        let scene = scene().await;
        scene.proxy.fault(&scene.large(), usize::MAX, fault);
        let (error, _) = scene.fails().await;
        let layer = scene.image.layers[0].digest();
        match error {
            OciError::Truncated { what, found: 1000, .. } if truncated => assert!(what.contains(&layer)),
            OciError::Oversized { what, .. } if !truncated => assert!(what.contains(&layer)),
            other => panic!("{other:?}"),
        }
        let id: DiffId = scene.image.layers[0].diff_id.parse().unwrap();
        assert!(!store(scene.directory.path()).has_layer(&id).unwrap());
    }
}

#[tokio::test]
async fn refuses_an_altered_manifest() {
    let scene = scene().await;
    // By tag the registry's own header gives it away, by digest the name does.
    let by_digest = format!("docker://{}/os/test@{}", scene.proxy.host, scene.image.digest());
    for name in [&scene.name, &by_digest] {
        scene.proxy.fault("manifests/", 1, Fault::Flip(20));
        let error = pull(&scene.reader(), name, &store(scene.directory.path())).await.unwrap_err();
        assert!(matches!(error, OciError::ManifestDigestMismatch { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn refuses_an_altered_configuration() {
    for (fault, wanted) in [
        (Fault::Flip(20), "the configuration of docker://"),
        (Fault::Truncate(20), "is truncated: 20 of"),
        (Fault::Append(20), "is oversized"),
    ] {
        let scene = scene().await;
        let path = format!("blobs/{}", support::image::digest(&scene.image.config));
        scene.proxy.fault(&path, usize::MAX, fault);
        let (error, present) = scene.fails().await;
        assert!(error.to_string().contains(wanted), "{error}");
        assert_eq!(present, 0);
    }
}

#[tokio::test]
async fn refuses_media_types_it_does_not_know() {
    let scene = scene().await;
    for media_type in ["application/vnd.docker.distribution.manifest.v1+prettyjws", "application/vnd.example+json"] {
        scene.proxy.fault("manifests/", 1, Fault::ContentType(media_type));
        let (error, _) = scene.fails().await;
        assert!(
            matches!(&error, OciError::UnsupportedMediaType { found, .. } if found.contains(media_type)),
            "{error}"
        );
    }
    let mut layer = gzipped(&tar(&[("a", b"b")]));
    layer.media_type = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    scene.registry.push("os/test", "encrypted", &Image::new(vec![layer])).await;
    let name = format!("docker://{}/os/test:encrypted", scene.proxy.host);
    let error = pull(&scene.reader(), &name, &store(scene.directory.path())).await.unwrap_err();
    assert!(error.to_string().contains("tar+gzip+encrypted"), "{error}");
}

#[tokio::test]
async fn an_interrupted_fetch_keeps_whole_layers_alone() {
    let scene = scene().await;
    let path = scene.large();
    scene.proxy.fault(&path, 1, Fault::Stall(1_000_000));
    let mut config = support::config(scene.directory.path(), &[&scene.proxy.host]);
    config.patience.stall = Duration::from_secs(60);
    let (reader, store) = (rocketos_oci::Reader::new(config).unwrap(), store(scene.directory.path()));
    let resolved = reader.resolve(&reference(&scene.name)).await.unwrap();
    let heard = Heard::default();
    let small_ones_are_done = async {
        while heard.words.lock().unwrap().iter().filter(|word| word.starts_with("done")).count() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        fetched = reader.fetch(&resolved, &store, &heard) => panic!("the large layer stalls: {fetched:?}"),
        () = small_ones_are_done => {}
    }
    assert_eq!(scene.present(&store), 3);
    let heard = Heard::default();
    let stats = reader.fetch(&resolved, &store, &heard).await.unwrap();
    assert_eq!((stats.fetched_layers, stats.present_layers), (1, 3));
    assert_eq!(scene.present(&store), 4);
}

#[tokio::test]
async fn refuses_content_the_configuration_does_not_name() {
    let scene = scene().await;
    let mut layer = gzipped(&tar(&[("a", &noise(9, 5000))]));
    layer.diff_id = support::image::digest(b"something else");
    scene.registry.push("os/test", "diff", &Image::new(vec![layer])).await;
    let name = format!("docker://{}/os/test:diff", scene.proxy.host);
    let error = pull(&scene.reader(), &name, &store(scene.directory.path())).await.unwrap_err();
    assert!(matches!(&error, OciError::Store { source: rocketos_store::StoreError::DiffId { .. }, .. }), "{error:?}");
}

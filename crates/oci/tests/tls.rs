//! HTTPS: whom we trust.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rocketos_oci::{OciError, Reader};
use support::{
    certificate, chain, config,
    image::Image,
    proxy::{Fault, Proxy},
    pull,
    registry::Registry,
    store,
};
use tempfile::TempDir;

async fn scene() -> (Registry, Proxy, Vec<u8>, TempDir, String) {
    let registry = Registry::start();
    registry.push("os/test", "1", &Image::of_every_kind(500_000)).await;
    let certificate = certificate::for_address("127.0.0.1").unwrap();
    let (pem, acceptor) = (certificate.pem().unwrap(), certificate.acceptor().unwrap());
    let proxy = Proxy::start_tls(&registry.host, acceptor);
    let name = format!("docker://{}/os/test:1", proxy.host);
    (registry, proxy, pem, TempDir::new().unwrap(), name)
}

#[tokio::test]
async fn trusts_the_certificates_of_certs_d() {
    let (_registry, proxy, pem, directory, name) = scene().await;
    let place = directory.path().join("certs.d").join(&proxy.host);
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("ca.crt"), pem).unwrap();
    let mut config = config(directory.path(), &[]);
    config.certs_dirs = vec![directory.path().join("certs.d")];
    proxy.fault("/blobs/", 2, Fault::Cut(100));
    pull(&Reader::new(config).unwrap(), &name, &store(directory.path())).await.unwrap();
}

#[tokio::test]
async fn refuses_a_certificate_nobody_vouches_for() {
    let (_registry, proxy, _pem, directory, name) = scene().await;
    let reader = Reader::new(config(directory.path(), &[])).unwrap();
    let error = pull(&reader, &name, &store(directory.path())).await.unwrap_err();
    assert!(matches!(error, OciError::Tls { .. }), "{error:?}");
    assert!(chain(&error).contains("certificate"), "{}", chain(&error));
    assert!(proxy.requests("").is_empty(), "nothing is asked before trust is there");
}

#[tokio::test]
async fn takes_any_certificate_where_told_to() {
    let (_registry, proxy, _pem, directory, name) = scene().await;
    let reader = Reader::new(config(directory.path(), &[&proxy.host])).unwrap();
    pull(&reader, &name, &store(directory.path())).await.unwrap();
}

#[tokio::test]
async fn does_not_follow_from_https_to_http() {
    let (registry, proxy, pem, directory, name) = scene().await;
    let place = directory.path().join("certs.d").join(&proxy.host);
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("ca.crt"), pem).unwrap();
    let mut config = config(directory.path(), &[]);
    config.certs_dirs = vec![directory.path().join("certs.d")];
    let reader = Reader::new(config).unwrap();
    proxy.fault("/blobs/", usize::MAX, Fault::Redirect(registry.host.clone()));
    let error = pull(&reader, &name, &store(directory.path())).await.unwrap_err();
    assert!(error.to_string().contains("which is not HTTPS"), "{error}");
    proxy.clear();
    let realm = format!("Bearer realm=\"http://{}/token\"", registry.host);
    proxy.fault("/v2/", usize::MAX, Fault::Demand(realm, "Bearer x"));
    let error = pull(&reader, &name, &store(directory.path())).await.unwrap_err();
    assert!(matches!(error, OciError::InsecureRealm { .. }), "{error:?}");
}

//! HTTPS: whom we trust.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::PKey,
    ssl::{SslAcceptor, SslMethod},
    x509::{X509, X509NameBuilder, extension::SubjectAlternativeName},
};
use rocketos_oci::{OciError, Reader};
use support::{
    chain, config,
    image::Image,
    proxy::{Fault, Proxy},
    pull,
    registry::Registry,
    store,
};
use tempfile::TempDir;

/// A certificate for 127.0.0.1 that signs itself, and who presents it.
fn certificate() -> (Vec<u8>, SslAcceptor) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "test").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let names = SubjectAlternativeName::new().ip("127.0.0.1").build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build();
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    (certificate.to_pem().unwrap(), acceptor.build())
}

async fn scene() -> (Registry, Proxy, Vec<u8>, TempDir, String) {
    let registry = Registry::start();
    registry.push("os/test", "1", &Image::of_every_kind(500_000)).await;
    let (pem, acceptor) = certificate();
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

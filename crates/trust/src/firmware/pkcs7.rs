//! PKCS#7 signatures (RFC 2315), version 1 with SHA-256 and RSA, the one form that every firmware reads.

use cms::{
    cert::{CertificateChoices, IssuerAndSerialNumber},
    content_info::CmsVersion,
    signed_data::{
        CertificateSet, EncapsulatedContentInfo, SignedAttributes, SignedData, SignerIdentifier, SignerInfo,
        SignerInfos,
    },
};
use openssl::sha::sha256;
use x509_cert::{
    attr::{Attribute, AttributeValue},
    der::{
        Encode as _, Tag,
        asn1::{Any, OctetString, SetOfVec},
    },
    spki::ObjectIdentifier,
};

use super::{
    Certificate, FirmwareError,
    certificate::{sign, with_null},
};
use crate::Signer;

/// id-signedData (RFC 5652, 5.1).
pub(super) const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// id-data (RFC 5652, 4).
pub(super) const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
/// contentType (RFC 5652, 11.1).
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
/// messageDigest (RFC 5652, 11.2).
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

fn attribute(oid: ObjectIdentifier, value: AttributeValue) -> Result<Attribute, FirmwareError> {
    Ok(Attribute { oid, values: SetOfVec::try_from(vec![value])? })
}

/// What is signed where there are attributes: they, as a SET (RFC 5652, 5.4).
fn attributes(kind: ObjectIdentifier, content: &[u8]) -> Result<SignedAttributes, FirmwareError> {
    let digest = OctetString::new(sha256(content).to_vec())?;
    Ok(SetOfVec::try_from(vec![
        attribute(CONTENT_TYPE, Any::from(kind))?,
        attribute(MESSAGE_DIGEST, Any::new(Tag::OctetString, digest.as_bytes())?)?,
    ])?)
}

/// Signs `content`, which is inside and hashed by an attribute.
pub(super) fn sign_inside(
    kind: ObjectIdentifier,
    content: &Any,
    signer: &dyn Signer,
    certificate: &Certificate,
) -> Result<SignedData, FirmwareError> {
    // Without tag and length: PKCS#7 hashes the value alone (RFC 2315, 9.3).
    let attributes = attributes(kind, content.value())?;
    let signature = sign(signer, &attributes.to_der()?)?;
    let inside = EncapsulatedContentInfo { econtent_type: kind, econtent: Some(content.clone()) };
    wrap(inside, Some(attributes), signature, signer, certificate)
}

/// Signs `message`, which is kept elsewhere, itself.
pub(super) fn sign_detached(
    message: &[u8],
    signer: &dyn Signer,
    certificate: &Certificate,
) -> Result<SignedData, FirmwareError> {
    let signature = sign(signer, message)?;
    wrap(EncapsulatedContentInfo { econtent_type: DATA, econtent: None }, None, signature, signer, certificate)
}

fn wrap(
    inside: EncapsulatedContentInfo,
    attributes: Option<SignedAttributes>,
    signature: Vec<u8>,
    signer: &dyn Signer,
    certificate: &Certificate,
) -> Result<SignedData, FirmwareError> {
    certificate.require(signer)?;
    let tbs = &certificate.parsed.tbs_certificate;
    let info = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: tbs.issuer.clone(),
            serial_number: tbs.serial_number.clone(),
        }),
        digest_alg: with_null(SHA256),
        signed_attrs: attributes,
        signature_algorithm: with_null(RSA),
        signature: OctetString::new(signature)?,
        unsigned_attrs: None,
    };
    Ok(SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![with_null(SHA256)])?,
        encap_content_info: inside,
        certificates: Some(CertificateSet(SetOfVec::try_from(vec![CertificateChoices::Certificate(
            certificate.parsed.clone(),
        )])?)),
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![info])?),
    })
}

/// The one signer's part.
fn only_signer(signed: &SignedData) -> Result<&SignerInfo, FirmwareError> {
    match signed.signer_infos.0.as_slice() {
        [one] if one.digest_alg.oid == SHA256 => Ok(one),
        [_] => Err(FirmwareError::Malformed("it is made with another hash than SHA-256".to_owned())),
        several => Err(FirmwareError::Malformed(format!("it has {} signers, not one", several.len()))),
    }
}

/// True where `certificate`'s key signed `content`, which is inside.
pub(super) fn verify_inside(signed: &SignedData, certificate: &Certificate) -> Result<(), FirmwareError> {
    let malformed = |problem: &str| FirmwareError::Malformed(problem.to_owned());
    let info = only_signer(signed)?;
    let content = signed.encap_content_info.econtent.as_ref().ok_or_else(|| malformed("there is nothing inside"))?;
    let attributes = info.signed_attrs.as_ref().ok_or_else(|| malformed("it has no attributes"))?;
    let value = |oid| {
        let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
        let (Some(one), None) = (found.next(), found.next()) else { return None };
        one.values.get(0).filter(|_| one.values.len() == 1).cloned()
    };
    let kind = value(CONTENT_TYPE).ok_or_else(|| malformed("it does not say what is inside"))?;
    if kind != Any::from(signed.encap_content_info.econtent_type) {
        return Err(malformed("it says that something else is inside"));
    }
    let digest = value(MESSAGE_DIGEST).ok_or_else(|| malformed("it has no digest"))?;
    if digest.value() != sha256(content.value()) {
        return Err(FirmwareError::Changed);
    }
    match certificate.key().verifies(&attributes.to_der()?, info.signature.as_bytes()) {
        true => Ok(()),
        false => Err(FirmwareError::Stranger(certificate.name().to_owned())),
    }
}

/// True where `certificate`'s key signed `message`.
pub(super) fn verify_detached(
    signed: &SignedData,
    message: &[u8],
    certificate: &Certificate,
) -> Result<bool, FirmwareError> {
    let info = only_signer(signed)?;
    Ok(info.signed_attrs.is_none() && certificate.key().verifies(message, info.signature.as_bytes()))
}

/// The one certificate that came with a signature.
pub(super) fn only_certificate(signed: &SignedData) -> Result<Certificate, FirmwareError> {
    match signed.certificates.as_ref().map(|set| set.0.as_slice()) {
        Some([CertificateChoices::Certificate(one)]) => Certificate::of(one.clone()),
        _ => Err(FirmwareError::Malformed("it does not come with one certificate".to_owned())),
    }
}

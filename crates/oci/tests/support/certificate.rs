//! A certificate that nobody vouches for but itself.

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    ssl::{SslAcceptor, SslMethod},
    x509::{X509, X509NameBuilder, extension::SubjectAlternativeName},
};

/// A certificate, and the key of who presents it.
pub struct Certificate {
    certificate: X509,
    key: PKey<Private>,
}

impl Certificate {
    /// The certificate, as PEM.
    pub fn pem(&self) -> Result<Vec<u8>, ErrorStack> {
        self.certificate.to_pem()
    }

    /// Its key, as PEM.
    #[allow(dead_code, reason = "not every test has a program present it")]
    pub fn key(&self) -> Result<Vec<u8>, ErrorStack> {
        self.key.private_key_to_pem_pkcs8()
    }

    /// Who presents it.
    pub fn acceptor(&self) -> Result<SslAcceptor, ErrorStack> {
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls())?;
        acceptor.set_private_key(&self.key)?;
        acceptor.set_certificate(&self.certificate)?;
        Ok(acceptor.build())
    }
}

/// One for an address, good for a day.
pub fn for_address(address: &str) -> Result<Certificate, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "test")?;
    let name = name.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let serial = BigNum::from_u32(1)?.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    let (from, until) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(1)?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&until)?;
    let names = SubjectAlternativeName::new().ip(address).build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok(Certificate { certificate: builder.build(), key })
}

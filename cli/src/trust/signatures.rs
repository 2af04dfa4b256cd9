//! Finding signatures: from the place an image came from into `rocketos-trust`'s hands.

use rocketos_model::ManifestDigest;
use rocketos_oci::{Beside, OciError};
use rocketos_trust::{Carrier, SIGNATURE_LISTED_AS, Signature, limits, signature_tag};

/// What was found for one digest.
#[derive(Default)]
pub struct Found {
    /// Junk included: it is shown, and does not count.
    pub signatures: Vec<Signature>,
    /// Why there may be more: a registry that did not answer.
    pub failure: Option<OciError>,
}

/// True where asking again, or logging in, may bring what is there.
fn may_pass(error: &OciError) -> bool {
    matches!(
        error,
        OciError::Unreachable { .. }
            | OciError::Tls { .. }
            | OciError::Unauthorized { .. }
            | OciError::Forbidden { .. }
            | OciError::TooManyRequests { .. }
            | OciError::ServerError { .. }
            | OciError::Interrupted { .. }
            | OciError::Read { .. }
            | OciError::Cancelled
    )
}

impl Found {
    /// Adds what lies beside the image `digest`: under the signatures' tag, and among its referrers.
    pub async fn gather(&mut self, beside: &mut Beside, digest: ManifestDigest) {
        let tag = signature_tag(digest);
        let at = format!("{} beside {}", tag, beside.name());
        match beside.under_tag(&tag).await {
            Ok(Some(manifest)) => self.carried(beside, &at, &manifest, digest).await,
            Ok(None) => {}
            Err(error) => self.missed(&at, error),
        }
        let at = format!("the list of what refers to {digest} beside {}", beside.name());
        let listed = match beside.referring(digest, &SIGNATURE_LISTED_AS).await {
            Ok(listed) => listed,
            Err(error) => return self.missed(&at, error),
        };
        for referrer in listed {
            // The judge refuses more than the limit, so nothing is gained by fetching on.
            if self.signatures.len() > limits::SIGNATURES {
                return;
            }
            let at = format!("{referrer} beside {}", beside.name());
            match beside.manifest(referrer).await {
                Ok(manifest) => self.carried(beside, &at, &manifest, digest).await,
                Err(error) => self.missed(&at, error),
            }
        }
    }

    /// Adds what one manifest carries.
    async fn carried(&mut self, beside: &Beside, at: &str, manifest: &[u8], digest: ManifestDigest) {
        let carrier = match Carrier::read(at, manifest, digest) {
            Ok(carrier) => carrier,
            Err(error) => return self.signatures.push(Signature::unreadable(at, error)),
        };
        for blob in carrier.blobs() {
            match beside.blob("a signature", blob.digest(), blob.size()).await {
                Ok(bytes) => {
                    self.signatures.push(blob.with(bytes).unwrap_or_else(|error| Signature::unreadable(at, error)));
                }
                Err(error) => self.missed(at, error),
            }
        }
    }

    /// Notes what could not be had.
    pub fn missed(&mut self, at: &str, error: OciError) {
        self.signatures.push(Signature::unreadable(at, crate::exit::causes(&error)));
        if may_pass(&error) {
            self.failure.get_or_insert(error);
        }
    }
}

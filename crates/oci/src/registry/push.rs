//! Writing: blobs and manifests (distribution specification, "Push").

use bytes::Bytes;
use openssl::sha::sha256;
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, LOCATION},
};
use rocketos_model::BlobDigest;

use super::{
    Patience,
    endpoint::{Access, Endpoint},
    patiently,
};
use crate::OciError;

/// The header by which a registry says that it lists a manifest among its subject's referrers.
const OCI_SUBJECT: &str = "OCI-Subject";

/// A repository that is written to.
pub(crate) struct Upload<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) patience: Patience,
}

impl Upload<'_> {
    /// Makes sure the repository has this blob.
    pub(crate) async fn blob(&self, bytes: Bytes) -> Result<BlobDigest, OciError> {
        let digest = BlobDigest::from_bytes(sha256(&bytes));
        patiently(&self.patience, || self.put_blob(digest, bytes.clone())).await?;
        Ok(digest)
    }

    async fn put_blob(&self, digest: BlobDigest, bytes: Bytes) -> Result<(), OciError> {
        const DOING: &str = "the upload of a blob";
        let url = self.endpoint.url(&format!("blobs/{digest}")).await?;
        let found = self.endpoint.send(Access::Push, Method::HEAD, url, DOING, |request| request).await?;
        if found.status() == StatusCode::OK {
            return Ok(());
        }
        let url = self.endpoint.url("blobs/uploads/").await?;
        let begun = self
            .endpoint
            .send(Access::Push, Method::POST, url.clone(), DOING, |request| request.body(Bytes::new()))
            .await?;
        if begun.status() != StatusCode::ACCEPTED {
            return Err(self.endpoint.status(begun.status(), DOING));
        }
        let mut place = self.location(begun.headers(), &url, DOING)?;
        // The location may have a query of its own, which has to stay.
        place.query_pairs_mut().append_pair("digest", &digest.to_string());
        let done = self
            .endpoint
            .send(Access::Push, Method::PUT, place, DOING, |request| {
                request.header(CONTENT_TYPE, "application/octet-stream").body(bytes.clone())
            })
            .await?;
        match done.status() {
            StatusCode::CREATED => Ok(()),
            status => Err(self.endpoint.status(status, DOING)),
        }
    }

    fn location(&self, headers: &HeaderMap, from: &Url, doing: &str) -> Result<Url, OciError> {
        headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| from.join(value).ok())
            .filter(|url| url.scheme() == from.scheme())
            .ok_or_else(|| self.endpoint.protocol(doing, "no usable Location".to_owned()))
    }

    /// Puts a manifest under a tag or its digest; true where the registry took note of its subject.
    pub(crate) async fn manifest(&self, reference: &str, media_type: &str, bytes: Bytes) -> Result<bool, OciError> {
        const DOING: &str = "the upload of a manifest";
        let (bytes, url) = (&bytes, self.endpoint.url(&format!("manifests/{reference}")).await?);
        patiently(&self.patience, || async {
            let done = self
                .endpoint
                .send(Access::Push, Method::PUT, url.clone(), DOING, |request| {
                    request.header(CONTENT_TYPE, media_type).body(bytes.clone())
                })
                .await?;
            match done.status() {
                StatusCode::CREATED => Ok(done.headers().contains_key(OCI_SUBJECT)),
                status => Err(self.endpoint.status(status, DOING)),
            }
        })
        .await
    }
}

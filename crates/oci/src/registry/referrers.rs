//! Listing what belongs to a manifest (distribution specification, "Listing Referrers", "Referrers Tag Schema").

use oci_spec::image::{Descriptor, ImageIndex};
use reqwest::{Method, StatusCode, header::ACCEPT};
use rocketos_model::{BlobDigest, ManifestDigest, limits};

use super::{
    Patience, Repository, Upload, body,
    endpoint::{Access, Endpoint},
    patiently,
};
use crate::{
    OciError,
    checked::{Expected, Kind},
    manifest::OCI_INDEX,
};

/// Pages of a list that are read.
const PAGES: usize = 16;

/// The tag under which a registry without the referrers API keeps the list.
pub(crate) fn fallback_tag(subject: ManifestDigest) -> String {
    format!("sha256-{}", subject.to_hex())
}

impl Repository {
    /// To write to the repository.
    pub(crate) fn upload(&self) -> Upload<'_> {
        Upload { endpoint: self.primary(), patience: self.patience }
    }

    /// What refers to `subject`, at the location itself, where it is written.
    pub(crate) async fn referrers(&self, subject: ManifestDigest) -> Result<Vec<Descriptor>, OciError> {
        self.referrers_at(self.primary(), subject, &self.patience).await
    }

    /// What refers to `subject` at the first place that knows of something.
    pub(crate) async fn referrers_anywhere(&self, subject: ManifestDigest) -> Result<Vec<Descriptor>, OciError> {
        let mut at = 0;
        loop {
            let last = at + 1 == self.endpoints.len();
            let patience = if last { self.patience } else { self.patience.for_mirror() };
            match self.referrers_at(&self.endpoints[at], subject, &patience).await {
                // A mirror may fail, or not mirror this.
                Ok(found) if found.is_empty() && !last => at += 1,
                Err(_) if !last => at += 1,
                answer => return answer,
            }
        }
    }

    /// Asked of the referrers API, or read from the fallback tag.
    async fn referrers_at(
        &self,
        endpoint: &Endpoint,
        subject: ManifestDigest,
        patience: &Patience,
    ) -> Result<Vec<Descriptor>, OciError> {
        const DOING: &str = "the request for referrers";
        let mut url = endpoint.url(&format!("referrers/{subject}")).await?;
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let (page, next) = match patiently(patience, || index(endpoint, url.clone(), DOING)).await? {
                Some(page) => page,
                None => {
                    let tag = endpoint.url(&format!("manifests/{}", fallback_tag(subject))).await?;
                    let page = patiently(patience, || index(endpoint, tag.clone(), DOING)).await?;
                    return Ok(page.map_or_else(Vec::new, |(page, _)| page.manifests().clone()));
                }
            };
            found.extend(page.manifests().iter().cloned());
            match next.and_then(|next| url.join(&next).ok()) {
                Some(next) if next.origin() == url.origin() => url = next,
                _ => break,
            }
        }
        Ok(found)
    }

    /// The list under the fallback tag, for adding to it.
    pub(crate) async fn fallback(&self, subject: ManifestDigest) -> Result<Vec<Descriptor>, OciError> {
        const DOING: &str = "the request for referrers";
        let endpoint = self.primary();
        let url = endpoint.url(&format!("manifests/{}", fallback_tag(subject))).await?;
        let page = patiently(&self.patience, || index(endpoint, url.clone(), DOING)).await?;
        Ok(page.map_or_else(Vec::new, |(page, _)| page.manifests().clone()))
    }

    /// Reads a small blob and checks it.
    pub(crate) async fn small_blob(&self, what: &str, digest: BlobDigest, size: u64) -> Result<Vec<u8>, OciError> {
        if size > limits::MANIFEST_BYTES {
            return Err(OciError::Limit { what: format!("{what}, in bytes,"), limit: limits::MANIFEST_BYTES });
        }
        let expected = Expected { digest, size, what: what.to_owned(), kind: Kind::Layer };
        let mut stream = self.blob(expected.clone());
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > size {
                return Err(expected.oversized());
            }
        }
        expected.check_bytes(&bytes)?;
        Ok(bytes)
    }
}

/// An index and the address of its next page; `None` where there is none.
async fn index(
    endpoint: &Endpoint,
    url: reqwest::Url,
    doing: &str,
) -> Result<Option<(ImageIndex, Option<String>)>, OciError> {
    let response =
        endpoint.send(Access::Pull, Method::GET, url, doing, |request| request.header(ACCEPT, OCI_INDEX)).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => return Err(endpoint.status(status, doing)),
    }
    let next = response.headers().get("Link").and_then(|value| next_page(value.to_str().ok()?));
    let bytes = body(endpoint, response, limits::MANIFEST_BYTES, "the list of referrers").await?;
    let index = ImageIndex::from_reader(&bytes[..])
        .map_err(|error| OciError::Parse { what: "the list of referrers".to_owned(), source: error.into() })?;
    Ok(Some((index, next)))
}

/// `Link: <address>; rel="next"` (RFC 8288).
fn next_page(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = |parameter: &str| matches!(parameter.trim(), "rel=\"next\"" | "rel=next");
        parameters.split(';').any(next).then(|| address.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        for (header, wanted) in [
            ("</v2/a/referrers/x?last=1>; rel=\"next\"", Some("/v2/a/referrers/x?last=1")),
            ("<a>; rel=prev, <b>; rel=next", Some("b")),
            ("<a>; rel=\"prev\"", None),
            ("", None),
        ] {
            assert_eq!(next_page(header).as_deref(), wanted, "{header}");
        }
    }
}

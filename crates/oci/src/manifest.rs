//! Manifests, indexes and configurations: what their bytes have to be before anybody believes them.

use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, Os};
use openssl::sha::sha256;
use rocketos_model::{BlobDigest, DiffId, ManifestDigest, limits};
use serde::{Deserialize, de::IgnoredAny};

use crate::{OciError, decompress::Compression, layers::Layer};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A configuration for what has none (OCI image specification, "Guidance for an Empty Descriptor").
pub(crate) const EMPTY: &[u8] = b"{}";
/// Its media type.
pub(crate) const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// What a registry calls a manifest it has no name for.
const UNTYPED: [&str; 4] = ["", "application/json", "text/plain", "application/octet-stream"];

/// The media types we ask registries for.
pub(crate) const MANIFEST_TYPES: [&str; 4] = [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST];

/// What a manifest's bytes are.
pub(crate) enum Document {
    Image(Box<ImageManifest>),
    Index(Box<ImageIndex>),
}

impl Document {
    /// What it says it is.
    pub(crate) fn media_type(&self) -> Option<String> {
        match self {
            Self::Image(manifest) => manifest.media_type().as_ref().map(ToString::to_string),
            Self::Index(index) => {
                Some(index.media_type().as_ref().map_or_else(|| OCI_INDEX.to_owned(), ToString::to_string))
            }
        }
    }
}

/// A machine, in OCI's words (Go's `GOARCH`).
pub fn running_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

pub(crate) fn digest_of(bytes: &[u8]) -> ManifestDigest {
    ManifestDigest::from_bytes(sha256(bytes))
}

pub(crate) fn check_digest(image: &str, expected: ManifestDigest, bytes: &[u8]) -> Result<(), OciError> {
    let found = digest_of(bytes);
    match found == expected {
        true => Ok(()),
        false => Err(OciError::ManifestDigestMismatch { image: image.to_owned(), expected, found }),
    }
}

fn parse_error<E: std::error::Error + Send + Sync + 'static>(what: String) -> impl FnOnce(E) -> OciError {
    move |error| OciError::Parse { what, source: error.into() }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
}

/// Parses a manifest or index. What it says of itself and what it was served as must be one thing (OCI image
/// specification, "Image Manifest", `mediaType`). What could be read as both is neither: whoever signed the one would
/// have signed the other.
pub(crate) fn parse(image: &str, bytes: &[u8], served: Option<&str>) -> Result<Document, OciError> {
    let what = || format!("the manifest of {image}");
    let head: Head = serde_json::from_slice(bytes).map_err(parse_error(what()))?;
    let served = served.filter(|served| !UNTYPED.contains(served));
    let unsupported = |found: String| OciError::UnsupportedMediaType { what: what(), found };
    let media_type = match (head.media_type.as_deref(), served) {
        (Some(own), Some(served)) if own != served => return Err(unsupported(format!("{own}' served as '{served}"))),
        (Some(own), _) => own,
        (None, Some(served)) => served,
        (None, None) => OCI_MANIFEST,
    };
    if head.schema_version == Some(1) {
        return Err(unsupported("application/vnd.docker.distribution.manifest.v1+json".to_owned()));
    }
    if head.manifests.is_some() && (head.layers.is_some() || head.config.is_some()) {
        return Err(unsupported("manifest and index at once".to_owned()));
    }
    match media_type {
        OCI_MANIFEST | DOCKER_MANIFEST => ImageManifest::from_reader(bytes)
            .map(|manifest| Document::Image(Box::new(manifest)))
            .map_err(parse_error(what())),
        OCI_INDEX | DOCKER_LIST => ImageIndex::from_reader(bytes)
            .map(|index| Document::Index(Box::new(index)))
            .map_err(parse_error(format!("the index of {image}"))),
        other => Err(unsupported(other.to_owned())),
    }
}

#[derive(Deserialize)]
struct Referring {
    subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: String,
}

/// What a manifest is attached to; nothing where it is no manifest.
pub(crate) fn subject(bytes: &[u8]) -> Option<ManifestDigest> {
    let manifest: Referring = serde_json::from_slice(bytes).ok()?;
    manifest.subject?.digest.parse().ok()
}

/// The entry of an index that is for `architecture` (OCI image specification, "Image Index", `platform`).
pub(crate) fn choose<'a>(image: &str, index: &'a ImageIndex, architecture: &str) -> Result<&'a Descriptor, OciError> {
    let fits = |descriptor: &&Descriptor| {
        descriptor
            .platform()
            .as_ref()
            .is_some_and(|platform| *platform.os() == Os::Linux && platform.architecture().to_string() == architecture)
    };
    if let Some(found) = index.manifests().iter().find(fits) {
        return Ok(found);
    }
    // One entry without a platform is for whoever it says in its configuration.
    match index.manifests().as_slice() {
        [only] if only.platform().is_none() => Ok(only),
        all => {
            let mut found: Vec<String> = all
                .iter()
                .map(|descriptor| match descriptor.platform() {
                    Some(platform) => format!("{}/{}", platform.os(), platform.architecture()),
                    None => "an entry without a platform".to_owned(),
                })
                .collect();
            found.dedup();
            Err(OciError::NoArchitecture {
                image: image.to_owned(),
                wanted: format!("linux/{architecture}"),
                found: match found.is_empty() {
                    true => "nothing".to_owned(),
                    false => found.join(", "),
                },
            })
        }
    }
}

/// The architectures that an index has for Linux, each once.
pub(crate) fn architectures(index: &ImageIndex) -> Vec<String> {
    let of = |descriptor: &Descriptor| {
        let platform = descriptor.platform().as_ref().filter(|platform| *platform.os() == Os::Linux)?;
        Some(platform.architecture().to_string())
    };
    let mut found: Vec<String> = index.manifests().iter().filter_map(of).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The digest of a descriptor that names a manifest.
pub(crate) fn manifest_digest(what: &str, descriptor: &Descriptor) -> Result<ManifestDigest, OciError> {
    let digest = descriptor.digest().to_string().parse();
    digest.map_err(|source| OciError::UnsupportedDigest { what: what.to_owned(), source })
}

/// The digest of a descriptor that names a blob.
pub(crate) fn blob_digest(what: &str, descriptor: &Descriptor) -> Result<BlobDigest, OciError> {
    let digest = descriptor.digest().to_string().parse();
    digest.map_err(|source| OciError::UnsupportedDigest { what: what.to_owned(), source })
}

/// Checks what a manifest says of its configuration.
pub(crate) fn config_descriptor(manifest: &ImageManifest) -> Result<(BlobDigest, u64), OciError> {
    let descriptor = manifest.config();
    let media_type = descriptor.media_type().to_string();
    if media_type != OCI_CONFIG && media_type != DOCKER_CONFIG {
        return Err(OciError::UnsupportedMediaType { what: "the image's configuration".to_owned(), found: media_type });
    }
    if descriptor.size() > limits::CONFIG_BYTES {
        return Err(OciError::Limit {
            what: "the image's configuration, in bytes,".to_owned(),
            limit: limits::CONFIG_BYTES,
        });
    }
    Ok((blob_digest("the image's configuration", descriptor)?, descriptor.size()))
}

/// Parses a configuration and checks that it is for this machine.
pub(crate) fn configuration(image: &str, bytes: &[u8], architecture: &str) -> Result<ImageConfiguration, OciError> {
    let configuration =
        ImageConfiguration::from_reader(bytes).map_err(parse_error(format!("the configuration of {image}")))?;
    let found = configuration.architecture();
    if *found != Arch::from(architecture) || *configuration.os() != Os::Linux {
        return Err(OciError::WrongArchitecture {
            image: image.to_owned(),
            wanted: format!("linux/{architecture}"),
            found: format!("{}/{found}", configuration.os()),
        });
    }
    Ok(configuration)
}

/// Pairs each layer with its diff_id (OCI image configuration, `rootfs.diff_ids`: "in order from first to last").
pub(crate) fn layers(manifest: &ImageManifest, configuration: &ImageConfiguration) -> Result<Vec<Layer>, OciError> {
    let diff_ids = configuration.rootfs().diff_ids();
    if manifest.layers().len() > limits::LAYERS {
        return Err(OciError::Limit { what: "the number of layers".to_owned(), limit: limits::LAYERS as u64 });
    }
    if manifest.layers().len() != diff_ids.len() {
        return Err(OciError::LayerCount { layers: manifest.layers().len(), diff_ids: diff_ids.len() });
    }
    let pairs = manifest.layers().iter().zip(diff_ids);
    pairs
        .map(|(descriptor, diff_id)| {
            let digest = blob_digest("a layer", descriptor)?;
            let what = format!("layer {digest}");
            let media_type = descriptor.media_type().to_string();
            let compression = Compression::of_media_type(&media_type)
                .ok_or_else(|| OciError::UnsupportedMediaType { what: what.clone(), found: media_type })?;
            if descriptor.size() > limits::LAYER_BYTES {
                return Err(OciError::Limit { what: format!("{what}, in bytes,"), limit: limits::LAYER_BYTES });
            }
            let diff_id: DiffId = diff_id
                .parse()
                .map_err(|source| OciError::UnsupportedDigest { what: format!("the content of {what}"), source })?;
            Ok(Layer { digest, size: descriptor.size(), compression, diff_id })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_manifest_for_what_it_says_and_was_served_as() {
        let body = |media_type: &str| format!("{{\"schemaVersion\":2,\"mediaType\":\"{media_type}\"}}");
        for (own, served, wanted) in [
            (body(OCI_MANIFEST), Some(DOCKER_MANIFEST), "served as"),
            (body("application/x"), None, "'application/x'"),
            (
                "{\"schemaVersion\":1}".to_owned(),
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
                "manifest.v1+json'",
            ),
            ("{}".to_owned(), Some("text/html"), "'text/html'"),
            ("<html>".to_owned(), None, "parsing"),
            ("{\"manifests\":[],\"layers\":[]}".to_owned(), Some(OCI_INDEX), "manifest and index at once"),
            ("{\"manifests\":[],\"config\":{}}".to_owned(), Some(OCI_MANIFEST), "manifest and index at once"),
        ] {
            let error = parse("image", own.as_bytes(), served).err().unwrap().to_string();
            assert!(error.contains(wanted), "{own}: {error}");
        }
        let index = format!("{{\"schemaVersion\":2,\"mediaType\":\"{OCI_INDEX}\",\"manifests\":[]}}");
        for served in [None, Some(OCI_INDEX), Some("application/json")] {
            assert!(matches!(parse("image", index.as_bytes(), served), Ok(Document::Index(_))));
        }
    }

    #[test]
    fn names_what_an_index_has_instead() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[
                {{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":1,
                  "platform":{{"os":"linux","architecture":"s390x"}}}},
                {{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":2,
                  "platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}}]}}"#
        );
        let index = ImageIndex::from_reader(text.as_bytes()).unwrap();
        assert_eq!(choose("image", &index, "arm64").unwrap().size(), 2);
        let error = choose("image", &index, "amd64").unwrap_err().to_string();
        assert_eq!(error, "image has no image for linux/amd64; it has: linux/s390x, linux/arm64");
    }
}

//! What can go wrong between a registry and the store.

use std::{io, path::PathBuf};

use rocketos_model::{BlobDigest, DigestError, ManifestDigest};
use rocketos_store::StoreError;

/// An image that could not be read, checked or stored. The store names nothing that is not whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// `registries.conf` or `auth.json`.
    #[error("reading {path}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Where it broke.
        source: ConfigError,
    },
    /// `blocked = true` in registries.conf.
    #[error("registries.conf blocks {0}")]
    Blocked(String),
    /// No answer from the host.
    #[error("registry {registry} is unreachable")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// What the network said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No trust, or no TLS at the other end.
    #[error(
        "the TLS connection to registry {registry} failed; its CA belongs in the system's trust or in certs.d, \
         and a registry without TLS needs 'insecure = true' in registries.conf"
    )]
    Tls {
        /// Host and port.
        registry: String,
        /// What TLS said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// 401.
    #[error("registry {registry} wants a login for {repository}: add it to auth.json ('podman login {registry}')")]
    Unauthorized {
        /// Host and port.
        registry: String,
        /// The repository.
        repository: String,
    },
    /// 403.
    #[error("registry {registry} denies access to {repository} to this login")]
    Forbidden {
        /// Host and port.
        registry: String,
        /// The repository.
        repository: String,
    },
    /// A registry over HTTPS wants the password sent in the clear.
    #[error("registry {registry} asks to send credentials to '{realm}', which is not HTTPS")]
    InsecureRealm {
        /// Host and port.
        registry: String,
        /// Where it asks to send them.
        realm: String,
    },
    /// 404 for a manifest; nothing of this name in a layout or storage.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// 404 for a blob.
    #[error("registry {registry} has the manifest of {repository} but lacks its {what}")]
    MissingBlob {
        /// Host and port.
        registry: String,
        /// The repository.
        repository: String,
        /// Configuration or layer.
        what: String,
    },
    /// 429, after retries.
    #[error("registry {registry} allows no more requests for now (429); try again later or log in")]
    TooManyRequests {
        /// Host and port.
        registry: String,
    },
    /// 5xx, after retries.
    #[error("registry {registry} failed with status {status}, {attempts} times")]
    ServerError {
        /// Host and port.
        registry: String,
        /// HTTP's.
        status: u16,
        /// How often it was asked.
        attempts: u32,
    },
    /// Any other status.
    #[error("registry {registry} answered {doing} with status {status}")]
    UnexpectedStatus {
        /// Host and port.
        registry: String,
        /// What was asked.
        doing: String,
        /// HTTP's.
        status: u16,
    },
    /// An answer that breaks the distribution specification or HTTP.
    #[error("registry {registry} answered {doing} with something else: {found}")]
    Protocol {
        /// Host and port.
        registry: String,
        /// What was asked.
        doing: String,
        /// What came.
        found: String,
    },
    /// The connection broke again and again, without enough bytes in between.
    #[error("reading {what} from registry {registry} broke off {attempts} times")]
    Interrupted {
        /// Host and port.
        registry: String,
        /// Manifest, configuration or layer.
        what: String,
        /// How often.
        attempts: u32,
        /// The last break.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A bound was passed.
    #[error("{what} is over the limit of {limit}")]
    Limit {
        /// What was measured, and its unit.
        what: String,
        /// How much is allowed.
        limit: u64,
    },
    /// The manifest is not the one that was asked for.
    #[error("the manifest of {image} has digest {found}, {expected} was asked for")]
    ManifestDigestMismatch {
        /// The reference.
        image: String,
        /// Asked for, or promised by the registry's header.
        expected: ManifestDigest,
        /// Of the bytes.
        found: ManifestDigest,
    },
    /// The configuration is not the one the manifest names.
    #[error("the configuration of {image} has digest {found}, its manifest says {expected}")]
    ConfigDigestMismatch {
        /// The reference.
        image: String,
        /// From the manifest.
        expected: BlobDigest,
        /// Of the bytes.
        found: BlobDigest,
    },
    /// A layer is not the one the manifest names.
    #[error("layer {layer} arrived with digest {found}: it was altered at the registry or on the way")]
    LayerDigestMismatch {
        /// From the manifest.
        layer: BlobDigest,
        /// Of the bytes.
        found: BlobDigest,
    },
    /// A blob ends early.
    #[error("{what} is truncated: {found} of {expected} bytes")]
    Truncated {
        /// Manifest, configuration or layer with digest.
        what: String,
        /// Bytes its descriptor names.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A blob goes on.
    #[error("{what} is oversized: more than its {expected} bytes")]
    Oversized {
        /// Manifest, configuration or layer with digest.
        what: String,
        /// Bytes its descriptor names.
        expected: u64,
    },
    /// Nothing we read.
    #[error("{what} has media type '{}', which is not supported", .found.escape_debug())]
    UnsupportedMediaType {
        /// Manifest, configuration or layer.
        what: String,
        /// Its type.
        found: String,
    },
    /// A digest of another algorithm, or none.
    #[error("{what} has a digest that is not supported")]
    UnsupportedDigest {
        /// Manifest, configuration or layer.
        what: String,
        /// What it should be.
        source: DigestError,
    },
    /// JSON that is no manifest, index or configuration.
    #[error("parsing {what}")]
    Parse {
        /// Manifest, index or configuration, and of what.
        what: String,
        /// Where it broke.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Manifest and configuration contradict each other.
    #[error("the manifest has {layers} layers and the configuration {diff_ids} diff_ids")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// The index has no entry for this machine.
    #[error("{image} has no image for {wanted}; it has: {}", .found.escape_debug())]
    NoArchitecture {
        /// The reference.
        image: String,
        /// This machine.
        wanted: String,
        /// What the index has.
        found: String,
    },
    /// The image is for another machine.
    #[error("{image} is for {}, this machine is {wanted}", .found.escape_debug())]
    WrongArchitecture {
        /// The reference.
        image: String,
        /// This machine.
        wanted: String,
        /// From its configuration.
        found: String,
    },
    /// Several images where one must be chosen.
    #[error("{image} holds {count} images; name one with :tag")]
    Ambiguous {
        /// The reference.
        image: String,
        /// How many.
        count: usize,
    },
    /// Not an OCI layout.
    #[error("{path} is not an OCI image layout: {problem}")]
    NotALayout {
        /// Directory or archive.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// `docker save`'s format.
    #[error("{path} is a docker-archive; write an oci-archive instead ('skopeo copy docker-archive:… oci-archive:…')")]
    DockerArchive {
        /// The archive.
        path: PathBuf,
    },
    /// The disk, while something is written.
    #[error("writing {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A local file.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
    /// containers-storage needs skopeo.
    #[error("reading containers-storage: needs the program 'skopeo', which could not be started: install it")]
    SkopeoMissing(#[source] io::Error),
    /// skopeo is there and said no.
    #[error("reading {image} through skopeo")]
    Storage {
        /// The reference.
        image: String,
        /// What skopeo or the way to it said.
        source: Box<containers_image_proxy::Error>,
    },
    /// A verb this transport does not have.
    #[error("{image} is no registry's: {doing} needs a docker:// reference")]
    NotARegistry {
        /// The reference.
        image: String,
        /// The verb.
        doing: &'static str,
    },
    /// The compressed stream does not decompress, though its digest is right.
    #[error("layer {layer} does not decompress")]
    Decompress {
        /// From the manifest.
        layer: BlobDigest,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The store said no.
    #[error("storing layer {layer}")]
    Store {
        /// From the manifest.
        layer: BlobDigest,
        /// Why.
        source: StoreError,
    },
    /// The store could not be asked.
    #[error("looking for layers in the store")]
    Lookup(#[source] StoreError),
    /// The caller dropped the fetch.
    #[error("the fetch was cancelled")]
    Cancelled,
    /// OpenSSL or the HTTP client did not start.
    #[error("setting up the HTTP client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A configuration file of the containers tools that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The kernel's word.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
    /// registries.conf.
    #[error("it is not the TOML that containers-registries.conf(5) describes")]
    Toml(#[source] Box<toml::de::Error>),
    /// auth.json.
    #[error("it is not the JSON that containers-auth.json(5) describes")]
    Json(#[source] serde_json::Error),
    /// `auth` is base64 of `user:password`.
    #[error("the 'auth' of '{0}' is not base64 of user:password")]
    Auth(String),
    /// `credHelpers`, `credsStore`.
    #[error("it names the credential helper '{0}'; credential helpers are not supported, write the login itself")]
    CredentialHelper(String),
    /// Version 1.
    #[error("it has version 1's table 'registries'; write [[registry]] as version 2 has it")]
    Version1,
    /// A `[[registry]]` without either.
    #[error("a [[registry]] has neither 'prefix' nor 'location'")]
    Nameless,
    /// Not a host with an optional port and path.
    #[error("'{0}' is not a location: host, optional port, optional path")]
    Location(String),
    /// Longer than any of these needs to be.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    /// A certificate.
    #[error("it is not a certificate in PEM form")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
}

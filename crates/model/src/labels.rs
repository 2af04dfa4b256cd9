//! Labels of an image's configuration.

/// bootc's mark of a bootable image; its value is `1`.
pub const BOOTC: &str = "containers.bootc";
/// The release's version (OCI image specification, "Pre-Defined Annotation Keys").
pub const VERSION: &str = "org.opencontainers.image.version";
/// The variant, such as `standalone`.
pub const VARIANT: &str = "org.rocketos.variant";
/// The kernel release inside, as `uname -r` prints it (bootc's label).
pub const KERNEL: &str = "ostree.linux";
/// Host containers that its settings have, as `control=sha256:…`, with spaces between them.
pub const HOST_CONTAINERS: &str = "org.rocketos.host-containers";
/// How many objects the image needs in the store.
pub const OBJECTS: &str = "org.rocketos.objects";
/// How many bytes those objects have together.
pub const BYTES: &str = "org.rocketos.bytes";

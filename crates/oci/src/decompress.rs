//! From a layer's bytes as served to its tar stream.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;

use crate::checked::Checked;

/// Largest window a zstd frame may ask for, as a power of two: 32 MiB, the most that podman and buildah write. Level 19
/// of the zstd program asks for 8 MiB; `--ultra` and `--long` may ask for more and are refused.
pub const ZSTD_WINDOW_LOG: u32 = 25;

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A bare tar stream.
    None,
    /// RFC 1952; any number of members.
    Gzip,
    /// RFC 8878; any number of frames, skippable ones (zstd:chunked) among them.
    Zstd,
}

impl Compression {
    /// Reads a layer's media type (OCI image specification, "Image Layer Filesystem Changeset"; Docker's schema 2).
    /// Encrypted and foreign layers have none.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Some(Self::None)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                Some(Self::Gzip)
            }
            "application/vnd.oci.image.layer.v1.tar+zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

enum Decoder<'a> {
    None(&'a mut Checked),
    Gzip(Box<MultiGzDecoder<&'a mut Checked>>),
    Zstd(zstd::stream::read::Decoder<'a, &'a mut Checked>),
}

/// A layer's tar stream. Ends only after every byte as served was read and found to be right.
pub(crate) struct TarStream<'a> {
    decoder: Decoder<'a>,
    /// True when the decompressor gave up.
    pub(crate) broken: bool,
}

impl<'a> TarStream<'a> {
    pub(crate) fn new(compression: Compression, source: &'a mut Checked) -> io::Result<Self> {
        let decoder = match compression {
            Compression::None => Decoder::None(source),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Decoder::Zstd(decoder)
            }
        };
        Ok(Self { decoder, broken: false })
    }

    fn source(&mut self) -> &mut Checked {
        match &mut self.decoder {
            Decoder::None(source) => source,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

impl Read for TarStream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::None(source) => source.read(out),
            Decoder::Gzip(decoder) => decoder.read(out),
            Decoder::Zstd(decoder) => decoder.read(out),
        };
        match read {
            Ok(0) if !out.is_empty() => self.source().drain().map(|()| 0),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.broken = true;
                Err(error)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_media_types_of_layers() {
        for (media_type, wanted) in [
            ("application/vnd.oci.image.layer.v1.tar", Some(Compression::None)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Compression::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Compression::Zstd)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Compression::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", None),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", None),
            ("application/octet-stream", None),
        ] {
            assert_eq!(Compression::of_media_type(media_type), wanted, "{media_type}");
        }
    }
}

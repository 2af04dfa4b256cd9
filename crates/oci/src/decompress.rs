//! From a layer's bytes as served to its tar stream.

use std::io::{self, BufRead, Read};

use zlib_rs::{Inflate, InflateFlush, Status};

use crate::checked::Checked;

/// Largest window a zstd frame may ask for, as a power of two: 32 MiB, the most that podman and buildah write. Level 19
/// of the zstd program asks for 8 MiB; `--ultra` and `--long` may ask for more and are refused.
pub const ZSTD_WINDOW_LOG: u32 = 25;

/// Window of a gzip member, as a power of two, and zlib's sign that its header and checksum are to be checked as well.
const GZIP_WINDOW_LOG: u8 = 15 + 16;

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
    Gzip(Gunzip<&'a mut Checked>),
    Zstd(zstd::stream::read::Decoder<'a, &'a mut Checked>),
}

/// Unpacks gzip members, one after the other, until their source ends between two.
///
/// zlib-rs by itself, for flate2 inflates with the C library as soon as any crate of a program asks for that, which
/// takes twice the time.
struct Gunzip<S> {
    source: S,
    /// Absent between two members.
    member: Option<Inflate>,
    /// False before the first.
    begun: bool,
}

impl<S: BufRead> Gunzip<S> {
    fn new(source: S) -> Self {
        Self { source, member: None, begun: false }
    }
}

impl<S: BufRead> Read for Gunzip<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !out.is_empty() {
            let input = self.source.fill_buf()?;
            let ended = input.is_empty();
            if ended && self.begun && self.member.is_none() {
                break;
            }
            self.begun = true;
            let member = self.member.get_or_insert_with(|| Inflate::new(true, GZIP_WINDOW_LOG));
            let before = (member.total_in(), member.total_out());
            let status = member
                .decompress(input, out, InflateFlush::NoFlush)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.as_str()))?;
            // Both are bounded by the lengths of what was given.
            let consumed = (member.total_in() - before.0) as usize;
            let unpacked = (member.total_out() - before.1) as usize;
            self.source.consume(consumed);
            if status == Status::StreamEnd {
                self.member = None;
            }
            if unpacked > 0 {
                return Ok(unpacked);
            }
            if ended && status != Status::StreamEnd {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a gzip member"));
            }
            if consumed == 0 && status != Status::StreamEnd {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a gzip member that leads nowhere"));
            }
        }
        Ok(0)
    }
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
            Compression::Gzip => Decoder::Gzip(Gunzip::new(source)),
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
            Decoder::Gzip(decoder) => decoder.source,
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
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(packed: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Gunzip::new(io::BufReader::with_capacity(piece, packed)).read_to_end(&mut out).map(|_| out)
    }

    fn text() -> Vec<u8> {
        (0..200_000_u64).flat_map(|number| (number * number / 7).to_le_bytes()).collect()
    }

    #[test]
    fn unpacks_members_in_pieces_of_any_size() {
        let text = text();
        let (first, second) = text.split_at(300_001);
        let packed = [gzip(first), gzip(b""), gzip(second)].concat();
        for piece in [1, 7, 4096, 1 << 20] {
            assert!(gunzip(&packed, piece).unwrap() == text, "in pieces of {piece}");
        }
    }

    #[test]
    fn refuses_members_cut_short() {
        let packed = gzip(&text());
        for length in [0, 1, 9, 10, packed.len() / 2, packed.len() - 8, packed.len() - 1] {
            let error = gunzip(&packed[..length], 4096).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length} bytes: {error}");
        }
    }

    #[test]
    fn refuses_what_follows_a_member_and_is_none() {
        for rest in [&b"x"[..], &[0; 512]] {
            let packed = [gzip(b"text"), rest.to_vec()].concat();
            assert!(gunzip(&packed, 4096).is_err());
        }
    }

    #[test]
    fn refuses_wrong_checksums_and_lengths() {
        let packed = gzip(&text());
        for from_end in [8, 4] {
            let mut packed = packed.clone();
            let at = packed.len() - from_end;
            packed[at] ^= 1;
            assert_eq!(gunzip(&packed, 4096).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

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

//! What a client claims its bytes to be, and whether they are.

use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::{S3Result, TrailingHeaders, s3_error};

use super::data::Received;
use super::record::Checksums;

/// What a client claims the hash of its bytes to be.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) md5: Option<String>,
    pub(super) checksums: Checksums,
}

impl Claims {
    /// A hasher for everything claimed, or announced to come behind the body.
    pub(super) fn hasher(&self, headers: &HeaderMap, algorithm: Option<&str>) -> ChecksumHasher {
        let trailer = headers
            .get("x-amz-trailer")
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        let wanted = |name: &str, claimed: bool| {
            claimed
                || trailer.contains(&format!("x-amz-checksum-{name}"))
                || algorithm.is_some_and(|algorithm| algorithm.eq_ignore_ascii_case(name))
        };
        let sums = &self.checksums;
        ChecksumHasher {
            crc32: wanted("crc32", sums.crc32.is_some()).then(Default::default),
            crc32c: wanted("crc32c", sums.crc32c.is_some()).then(Default::default),
            sha1: wanted("sha1", sums.sha1.is_some()).then(Default::default),
            sha256: wanted("sha256", sums.sha256.is_some()).then(Default::default),
            crc64nvme: wanted("crc64nvme", sums.crc64nvme.is_some()).then(Default::default),
        }
    }

    /// Compares what was received with what was claimed, before or behind the body.
    pub(super) fn check(
        mut self,
        received: &Received,
        trailers: Option<&TrailingHeaders>,
    ) -> S3Result<()> {
        if let Some(trailers) = trailers {
            trailers.read(|headers| self.read_trailers(headers));
        }
        if let Some(md5) = &self.md5 {
            use base64::Engine as _;
            if *md5 != base64::engine::general_purpose::STANDARD.encode(received.md5) {
                return Err(s3_error!(
                    BadDigest,
                    "The Content-MD5 you specified did not match what we received."
                ));
            }
        }
        let (claimed, found) = (self.checksums, &received.checksums);
        for (name, claimed, found) in [
            ("CRC32", claimed.crc32, &found.crc32),
            ("CRC32C", claimed.crc32c, &found.crc32c),
            ("CRC64NVME", claimed.crc64nvme, &found.crc64nvme),
            ("SHA1", claimed.sha1, &found.sha1),
            ("SHA256", claimed.sha256, &found.sha256),
        ] {
            if claimed.is_some() && claimed != *found {
                return Err(s3_error!(
                    BadDigest,
                    "The {name} you specified did not match the calculated checksum."
                ));
            }
        }
        Ok(())
    }

    fn read_trailers(&mut self, headers: &HeaderMap) {
        let read = |name: &str| {
            headers
                .get(format!("x-amz-checksum-{name}"))
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let sums = &mut self.checksums;
        sums.crc32 = sums.crc32.take().or_else(|| read("crc32"));
        sums.crc32c = sums.crc32c.take().or_else(|| read("crc32c"));
        sums.crc64nvme = sums.crc64nvme.take().or_else(|| read("crc64nvme"));
        sums.sha1 = sums.sha1.take().or_else(|| read("sha1"));
        sums.sha256 = sums.sha256.take().or_else(|| read("sha256"));
    }
}

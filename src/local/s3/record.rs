//! What is kept of buckets, objects and uploads.

use std::collections::BTreeMap;

use s3s::dto::{self, ETag, Timestamp};
use serde::{Deserialize, Serialize};

/// All buckets by name: the document `s3-buckets.json`.
pub(super) type Buckets = BTreeMap<String, BucketRecord>;

/// A bucket and its settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BucketRecord {
    /// Folder of its data; a bucket made again under the same name gets another.
    pub(super) id: String,
    /// When it was created, ms since the epoch.
    pub(super) created_ms: u64,
    /// Where.
    pub(super) region: String,
    /// `PutBucketTagging`.
    pub(super) tags: BTreeMap<String, String>,
    /// `PutBucketLifecycleConfiguration`.
    pub(super) lifecycle: Vec<LifecycleRecord>,
    /// `PutPublicAccessBlock`; all four are on in a new bucket.
    pub(super) public_access_block: Option<PublicAccessBlock>,
    /// `PutBucketOwnershipControls`; `BucketOwnerEnforced` in a new bucket.
    pub(super) ownership: Option<String>,
    /// `PutBucketPolicy`.
    pub(super) policy: Option<String>,
}

/// The four switches.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "S3 has these four")]
pub(super) struct PublicAccessBlock {
    pub(super) block_public_acls: bool,
    pub(super) ignore_public_acls: bool,
    pub(super) block_public_policy: bool,
    pub(super) restrict_public_buckets: bool,
}

/// A lifecycle rule, as far as the embedded cloud carries rules out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LifecycleRecord {
    pub(super) id: Option<String>,
    pub(super) prefix: String,
    /// Whether the prefix was given the old way, outside a filter: it is answered as it was given.
    pub(super) prefix_outside_filter: bool,
    pub(super) enabled: bool,
    pub(super) expire_days: Option<i32>,
    pub(super) abort_upload_days: Option<i32>,
}

/// What a client says of an object when it writes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Headers {
    pub(super) content_type: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Checksums beside the ETag, base64.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

impl From<dto::Checksum> for Checksums {
    fn from(checksum: dto::Checksum) -> Self {
        Self {
            crc32: checksum.checksum_crc32,
            crc32c: checksum.checksum_crc32c,
            crc64nvme: checksum.checksum_crc64nvme,
            sha1: checksum.checksum_sha1,
            sha256: checksum.checksum_sha256,
        }
    }
}

/// An object; one file each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ObjectRecord {
    pub(super) key: String,
    pub(super) size_bytes: u64,
    /// Without quotes.
    pub(super) etag: String,
    pub(super) modified_ms: u64,
    /// Name of the file with its bytes.
    pub(super) blob: String,
    pub(super) headers: Headers,
    pub(super) checksums: Checksums,
    /// Parts, for an object of a multipart upload.
    pub(super) part_count: Option<i32>,
}

impl ObjectRecord {
    pub(super) fn etag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }

    pub(super) fn modified(&self) -> Timestamp {
        timestamp(self.modified_ms)
    }

    /// The size as S3's documents type it.
    pub(super) fn size(&self) -> i64 {
        i64::try_from(self.size_bytes).unwrap_or(i64::MAX)
    }
}

/// A multipart upload under way; one file each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct UploadRecord {
    pub(super) key: String,
    pub(super) started_ms: u64,
    pub(super) headers: Headers,
}

/// A part of an upload; one file each, beside its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PartRecord {
    pub(super) number: i32,
    pub(super) size_bytes: u64,
    pub(super) etag: String,
    pub(super) modified_ms: u64,
    pub(super) blob: String,
    pub(super) checksums: Checksums,
}

/// Milliseconds since the epoch as S3's timestamp.
pub(super) fn timestamp(ms: u64) -> Timestamp {
    let nanoseconds = i128::from(ms) * 1_000_000;
    time::OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
        .into()
}

//! Buckets, objects and uploads on disk.
//!
//! ```text
//! s3-buckets.json                    all buckets and their settings
//! s3/ID/objects/NAME.json            one record an object; NAME is the encoded key, or its hash when long
//! s3/ID/blobs/UUID                   bytes, written under a fresh name and never changed
//! s3/ID/uploads/UPLOAD/upload.json   a multipart upload, and N.json for each part
//! ```
//!
//! Bytes are written first, then the record is put in place while the bucket's lock is held, so conditions
//! (`If-None-Match`) have exactly one winner, across processes too. A client's key never becomes a path.

use std::fs;
use std::io;
use std::path::PathBuf;

use futures::StreamExt as _;
use md5::{Digest as _, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::checksum::ChecksumHasher;
use s3s::dto::{ETag, ETagCondition, StreamingBlob};
use s3s::{S3Error, S3Result, s3_error};
use tokio::io::AsyncWriteExt as _;

use super::record::{BucketRecord, Buckets, Checksums, LifecycleRecord, ObjectRecord};
use crate::digest::Digest;
use crate::env::now_ms;
use crate::local::store::Store;

pub(super) const BUCKETS: &str = "s3-buckets.json";

/// Everything but letters, digits, `-` and `_` is encoded: no `/`, no `.`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// Longest encoded key that is a file name; longer keys are named by their hash.
const NAME_LENGTH_MAX: usize = 200;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A bucket that exists.
#[derive(Debug, Clone)]
pub(super) struct BucketData {
    store: Store,
    pub(super) record: BucketRecord,
}

/// Bytes that have been received and written, and what they turned out to be.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) blob: String,
    pub(super) size_bytes: u64,
    pub(super) md5: [u8; 16],
    pub(super) checksums: Checksums,
}

/// What a write demands of the object that is there.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

pub(super) fn internal(error: io::Error) -> S3Error {
    S3Error::internal_error(error)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl BucketData {
    /// The bucket `name`; `NoSuchBucket` if there is none.
    pub(super) fn open(store: &Store, name: &str) -> S3Result<Self> {
        let buckets: Buckets = store.read(BUCKETS).map_err(internal)?;
        let record = buckets
            .get(name)
            .cloned()
            .ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))?;
        Ok(Self {
            store: store.clone(),
            record,
        })
    }

    /// Makes the folders of a new bucket.
    pub(super) fn create_folders(store: &Store, id: &str) -> io::Result<()> {
        for folder in ["objects", "blobs", "uploads"] {
            fs::create_dir_all(store.path(&format!("s3/{id}/{folder}")))?;
        }
        Ok(())
    }

    /// Removes the folders of a deleted bucket.
    pub(super) fn remove_folders(store: &Store, id: &str) -> io::Result<()> {
        fs::remove_dir_all(store.path(&format!("s3/{id}")))
    }

    fn name(&self, below: &str) -> String {
        format!("s3/{}/{below}", self.record.id)
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.store.path(&self.name(below))
    }

    pub(super) fn blob_path(&self, blob: &str) -> PathBuf {
        self.path(&format!("blobs/{blob}"))
    }

    /// While this is held nobody else changes an object of the bucket. Never held across an await.
    pub(super) fn lock(&self) -> S3Result<fs::File> {
        self.store
            .lock(&self.name("bucket"), true)
            .map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound {
                    s3_error!(NoSuchBucket, "The specified bucket does not exist")
                } else {
                    internal(error)
                }
            })
    }

    pub(super) fn write_record<T: serde::Serialize>(
        &self,
        below: &str,
        record: &T,
    ) -> S3Result<()> {
        self.store
            .write(&self.name(below), record)
            .map_err(internal)
    }

    pub(super) fn read_record<T: serde::de::DeserializeOwned>(
        &self,
        below: &str,
    ) -> S3Result<Option<T>> {
        self.store
            .load::<Option<T>>(&self.name(below))
            .map_err(internal)
    }

    fn object_name(key: &str) -> String {
        let encoded = utf8_percent_encode(key, ENCODED).to_string();
        if encoded.len() <= NAME_LENGTH_MAX {
            format!("objects/k{encoded}.json")
        } else {
            format!("objects/h{}.json", Digest::of(key))
        }
    }

    /// The object `key`, unless there is none or its time is up.
    pub(super) fn object(&self, key: &str) -> S3Result<Option<ObjectRecord>> {
        let record = self.read_record::<ObjectRecord>(&Self::object_name(key))?;
        Ok(record.filter(|object| !self.is_expired(object)))
    }

    /// The object `key`, or `NoSuchKey`.
    pub(super) fn existing(&self, key: &str) -> S3Result<ObjectRecord> {
        self.object(key)?
            .ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }

    fn is_expired(&self, object: &ObjectRecord) -> bool {
        let now = now_ms();
        self.record.lifecycle.iter().any(|rule: &LifecycleRecord| {
            let days = rule.expire_days.and_then(|days| u64::try_from(days).ok());
            rule.enabled
                && object.key.starts_with(&rule.prefix)
                && days.is_some_and(|days| object.modified_ms + days * DAY_MS < now)
        })
    }

    /// All keys with `prefix`, sorted by their bytes as S3 does.
    pub(super) fn keys(&self, prefix: &str) -> S3Result<Vec<String>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(self.path("objects")).map_err(internal)? {
            let name = entry.map_err(internal)?.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            let key = if let Some(encoded) = name.strip_prefix('k') {
                percent_decode_str(encoded).decode_utf8_lossy().into_owned()
            } else {
                match self.read_record::<ObjectRecord>(&format!("objects/{name}.json"))? {
                    Some(record) => record.key,
                    None => continue,
                }
            };
            if key.starts_with(prefix) {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// Whether the bucket holds no object.
    pub(super) fn is_empty(&self) -> S3Result<bool> {
        for key in self.keys("")? {
            if self.object(&key)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts the object in place if the conditions hold. The bytes of the one before go.
    pub(super) fn commit(&self, object: &ObjectRecord, conditions: &Conditions) -> S3Result<()> {
        let _lock = self.lock()?;
        let before = self.object(&object.key)?;
        if let Err(error) = conditions.check(before.as_ref()) {
            let _ = fs::remove_file(self.blob_path(&object.blob));
            return Err(error);
        }
        self.write_record(&Self::object_name(&object.key), object)?;
        if let Some(before) = before {
            let _ = fs::remove_file(self.blob_path(&before.blob));
        }
        Ok(())
    }

    /// Deletes the object if the condition holds; nothing to delete is success.
    pub(super) fn delete(&self, key: &str, if_match: Option<&ETagCondition>) -> S3Result<()> {
        let _lock = self.lock()?;
        let before = self.object(key)?;
        if if_match.is_some() {
            Conditions {
                if_match: if_match.cloned(),
                if_none_match: None,
            }
            .check(before.as_ref())?;
        }
        if let Some(before) = before {
            fs::remove_file(self.path(&Self::object_name(key))).map_err(internal)?;
            let _ = fs::remove_file(self.blob_path(&before.blob));
        }
        Ok(())
    }

    /// Writes a stream to a fresh blob, hashing as it goes. Memory holds one piece of the stream.
    pub(super) async fn receive(
        &self,
        body: Option<StreamingBlob>,
        mut hasher: ChecksumHasher,
    ) -> S3Result<Received> {
        let blob = uuid::Uuid::new_v4().to_string();
        let path = self.blob_path(&blob);
        let file = tokio::fs::File::create(&path).await.map_err(internal)?;
        let mut file = tokio::io::BufWriter::with_capacity(256 * 1024, file);
        let mut md5 = Md5::new();
        let mut size_bytes = 0;
        if let Some(mut body) = body {
            while let Some(piece) = body.next().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(error) => {
                        let _ = fs::remove_file(&path);
                        return Err(s3_error!(
                            IncompleteBody,
                            "The request body ended early: {error}"
                        ));
                    }
                };
                md5.update(&piece);
                hasher.update(&piece);
                size_bytes += piece.len() as u64;
                file.write_all(&piece).await.map_err(internal)?;
            }
        }
        file.flush().await.map_err(internal)?;
        let checksums = hasher.finalize().into();
        Ok(Received {
            blob,
            size_bytes,
            md5: md5.finalize().into(),
            checksums,
        })
    }
}

impl Conditions {
    /// S3's rules for conditional writes: 412 where the condition does not hold, 404 for `If-Match` of nothing.
    fn check(&self, before: Option<&ObjectRecord>) -> S3Result<()> {
        let failed = || {
            s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            )
        };
        if let Some(condition) = &self.if_none_match
            && let Some(before) = before
            && matches(condition, before)
        {
            return Err(failed());
        }
        if let Some(condition) = &self.if_match {
            let Some(before) = before else {
                return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
            };
            if !matches(condition, before) {
                return Err(failed());
            }
        }
        Ok(())
    }
}

/// Whether an ETag condition names this object.
pub(super) fn matches(condition: &ETagCondition, object: &ObjectRecord) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == ETag::Strong(object.etag.clone()).value(),
    }
}

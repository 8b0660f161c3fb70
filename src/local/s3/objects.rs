//! Objects: put, get, head, delete, copy.

use md5::{Digest as _, Md5};
use s3s::dto::*;
use s3s::{S3Request, S3Result, s3_error};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::S3Data;
use super::claims::Claims;
use super::data::{BucketData, Conditions, hex, internal, matches};
use super::record::{Checksums, Headers, ObjectRecord};
use crate::env::now_ms;

/// Piece size of streamed reads.
const PIECE_BYTES: usize = 256 * 1024;
/// Longest key, S3 user guide "Naming Amazon S3 objects".
const KEY_BYTES_MAX: usize = 1024;

pub(super) fn check_key(key: &str) -> S3Result<()> {
    if key.len() > KEY_BYTES_MAX {
        return Err(s3_error!(KeyTooLongError, "Your key is too long"));
    }
    Ok(())
}

impl S3Data {
    pub(super) async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<PutObjectOutput> {
        let input = request.input;
        check_key(&input.key)?;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        if let Some(acl) = &input.acl {
            self.put_acl(&input.bucket, Some(&input.key), None, Some(acl.as_str()))?;
        }
        let claims = Claims {
            md5: input.content_md5,
            checksums: Checksums {
                crc32: input.checksum_crc32,
                crc32c: input.checksum_crc32c,
                crc64nvme: input.checksum_crc64nvme,
                sha1: input.checksum_sha1,
                sha256: input.checksum_sha256,
            },
        };
        let algorithm = input
            .checksum_algorithm
            .as_ref()
            .map(ChecksumAlgorithm::as_str);
        let hasher = claims.hasher(&request.headers, algorithm);
        let received = bucket.receive(input.body, hasher).await?;
        if let Err(error) = claims.check(&received, request.trailing_headers.as_ref()) {
            let _ = std::fs::remove_file(bucket.blob_path(&received.blob));
            return Err(error);
        }
        let object = ObjectRecord {
            key: input.key,
            size_bytes: received.size_bytes,
            etag: hex(&received.md5),
            modified_ms: now_ms(),
            blob: received.blob,
            headers: Headers {
                content_type: input.content_type,
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: input
                    .content_encoding
                    .filter(|encoding| encoding != "aws-chunked"),
                content_language: input.content_language,
                metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            },
            checksums: received.checksums,
            part_count: None,
        };
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
        };
        bucket.commit(&object, &conditions)?;
        Ok(PutObjectOutput {
            e_tag: Some(object.etag()),
            checksum_crc32: object.checksums.crc32,
            checksum_crc32c: object.checksums.crc32c,
            checksum_crc64nvme: object.checksums.crc64nvme,
            checksum_sha1: object.checksums.sha1,
            checksum_sha256: object.checksums.sha256,
            server_side_encryption: Some(aes256()),
            ..Default::default()
        })
    }

    pub(super) async fn get(&self, input: GetObjectInput) -> S3Result<GetObjectOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        refuse_part_number(input.part_number)?;
        refuse_version(input.version_id.as_deref())?;
        let (object, mut file) = open(&bucket, &input.key).await?;
        check_read(
            &object,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        check_dates(
            &object,
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        )?;
        let (range, content_range) = resolve(input.range.as_ref(), object.size_bytes)?;
        file.seek(std::io::SeekFrom::Start(range.start))
            .await
            .map_err(internal)?;
        let length = range.end - range.start;
        let body = StreamingBlob::wrap(ReaderStream::with_capacity(file.take(length), PIECE_BYTES));
        let head = head_of(&object);
        let whole = content_range.is_none() && input.checksum_mode.is_some();
        let sums = if whole {
            object.checksums.clone()
        } else {
            Checksums::default()
        };
        Ok(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(body),
            content_length: Some(i64::try_from(length).unwrap_or(i64::MAX)),
            content_range,
            cache_control: input.response_cache_control.or(head.cache_control),
            content_disposition: input
                .response_content_disposition
                .or(head.content_disposition),
            content_encoding: input.response_content_encoding.or(head.content_encoding),
            content_language: input.response_content_language.or(head.content_language),
            content_type: input.response_content_type.or(head.content_type),
            e_tag: head.e_tag,
            last_modified: head.last_modified,
            metadata: head.metadata,
            parts_count: None,
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            server_side_encryption: Some(aes256()),
            ..Default::default()
        })
    }

    pub(super) fn head(&self, input: &HeadObjectInput) -> S3Result<HeadObjectOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        refuse_part_number(input.part_number)?;
        refuse_version(input.version_id.as_deref())?;
        let object = bucket.existing(&input.key)?;
        check_read(
            &object,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        check_dates(
            &object,
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        )?;
        let (range, content_range) = resolve(input.range.as_ref(), object.size_bytes)?;
        let sums = if input.checksum_mode.is_some() {
            object.checksums.clone()
        } else {
            Checksums::default()
        };
        Ok(HeadObjectOutput {
            content_length: Some(i64::try_from(range.end - range.start).unwrap_or(i64::MAX)),
            content_range,
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            ..head_of(&object)
        })
    }

    pub(super) fn delete(&self, input: &DeleteObjectInput) -> S3Result<()> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        refuse_version(input.version_id.as_deref())?;
        bucket.delete(&input.key, input.if_match.as_ref())
    }

    pub(super) fn delete_many(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        if input.delete.objects.is_empty() || input.delete.objects.len() > 1000 {
            return Err(s3_error!(
                MalformedXML,
                "1 to 1000 objects can be deleted at once"
            ));
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let condition = object.e_tag.clone().map(ETagCondition::ETag);
            match bucket.delete(&object.key, condition.as_ref()) {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    ..Default::default()
                }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(object.key),
                    ..Default::default()
                }),
            }
        }
        Ok(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..Default::default()
        })
    }

    pub(super) async fn copy(&self, input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
        check_key(&input.key)?;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let (from, source) = self.source(&input.copy_source)?;
        check_read(
            &source,
            input.copy_source_if_match.as_ref(),
            input.copy_source_if_none_match.as_ref(),
        )?;
        let replace = input
            .metadata_directive
            .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        if !replace && from.record.id == bucket.record.id && source.key == input.key {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata."
            ));
        }
        let headers = if replace {
            Headers {
                content_type: input.content_type,
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: input.content_encoding,
                content_language: input.content_language,
                metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            }
        } else {
            source.headers.clone()
        };
        let blob = uuid::Uuid::new_v4().to_string();
        let copied = tokio::fs::copy(from.blob_path(&source.blob), bucket.blob_path(&blob)).await;
        copied.map_err(internal)?;
        // A copy is a single object again: its ETag is the MD5 of its bytes.
        let etag = if source.part_count.is_some() {
            md5_of(&bucket, &blob).await?
        } else {
            source.etag.clone()
        };
        let object = ObjectRecord {
            key: input.key,
            etag,
            modified_ms: now_ms(),
            blob,
            headers,
            part_count: None,
            ..source
        };
        bucket.commit(&object, &Conditions::default())?;
        let result = CopyObjectResult {
            e_tag: Some(object.etag()),
            last_modified: Some(object.modified()),
            ..Default::default()
        };
        Ok(CopyObjectOutput {
            copy_object_result: Some(result),
            ..Default::default()
        })
    }

    /// The object that `x-amz-copy-source` names.
    pub(super) fn source(&self, source: &CopySource) -> S3Result<(BucketData, ObjectRecord)> {
        let CopySource::Bucket {
            bucket,
            key,
            version_id,
        } = source
        else {
            return Err(s3_error!(
                NotImplemented,
                "the embedded cloud has no access points"
            ));
        };
        refuse_version(version_id.as_deref())?;
        let bucket = self.bucket(bucket, None)?;
        let object = bucket.existing(key)?;
        Ok((bucket, object))
    }
}

async fn md5_of(bucket: &BucketData, blob: &str) -> S3Result<String> {
    let mut file = tokio::fs::File::open(bucket.blob_path(blob))
        .await
        .map_err(internal)?;
    let mut md5 = Md5::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = file.read(&mut piece).await.map_err(internal)?;
        if length == 0 {
            return Ok(hex(&md5.finalize()));
        }
        md5.update(&piece[..length]);
    }
}

/// The record and its bytes. An overwrite in between removes the bytes that were read of: then look again.
async fn open(bucket: &BucketData, key: &str) -> S3Result<(ObjectRecord, tokio::fs::File)> {
    let mut tries_left = 10;
    loop {
        let object = bucket.existing(key)?;
        match tokio::fs::File::open(bucket.blob_path(&object.blob)).await {
            Ok(file) => return Ok((object, file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && tries_left > 0 => {
                tries_left -= 1;
            }
            Err(error) => return Err(internal(error)),
        }
    }
}

fn aes256() -> ServerSideEncryption {
    ServerSideEncryption::from_static(ServerSideEncryption::AES256)
}

fn head_of(object: &ObjectRecord) -> HeadObjectOutput {
    let headers = object.headers.clone();
    HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: headers.cache_control,
        content_disposition: headers.content_disposition,
        content_encoding: headers.content_encoding,
        content_language: headers.content_language,
        content_type: Some(
            headers
                .content_type
                .unwrap_or_else(|| "binary/octet-stream".to_owned()),
        ),
        e_tag: Some(object.etag()),
        last_modified: Some(object.modified()),
        metadata: Some(headers.metadata.into_iter().collect()),
        server_side_encryption: Some(aes256()),
        ..Default::default()
    }
}

fn refuse_part_number(part_number: Option<i32>) -> S3Result<()> {
    match part_number {
        None | Some(1) => Ok(()),
        Some(_) => Err(s3_error!(
            NotImplemented,
            "the embedded cloud does not read single parts"
        )),
    }
}

fn refuse_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(
            NoSuchVersion,
            "The specified version does not exist."
        )),
    }
}

fn check_read(
    object: &ObjectRecord,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    if if_match.is_some_and(|condition| !matches(condition, object)) {
        return Err(s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        ));
    }
    if if_none_match.is_some_and(|condition| matches(condition, object)) {
        return Err(s3_error!(NotModified, "Not Modified"));
    }
    Ok(())
}

fn check_dates(
    object: &ObjectRecord,
    modified_since: Option<&Timestamp>,
    unmodified_since: Option<&Timestamp>,
) -> S3Result<()> {
    // HTTP dates have whole seconds.
    let modified = super::record::timestamp(object.modified_ms / 1000 * 1000);
    if unmodified_since.is_some_and(|since| modified > *since) {
        return Err(s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        ));
    }
    if modified_since.is_some_and(|since| modified <= *since) {
        return Err(s3_error!(NotModified, "Not Modified"));
    }
    Ok(())
}

fn resolve(
    range: Option<&Range>,
    size_bytes: u64,
) -> S3Result<(std::ops::Range<u64>, Option<String>)> {
    let Some(range) = range else {
        return Ok((0..size_bytes, None));
    };
    let range = range
        .check(size_bytes)
        .map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
    let text = format!("bytes {}-{}/{size_bytes}", range.start, range.end - 1);
    Ok((range, Some(text)))
}

//! Multipart uploads: create, parts, part copy, complete with conditions, abort, lists.

use std::fs;
use std::io;

use md5::{Digest as _, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::dto::*;
use s3s::{S3Request, S3Result, s3_error};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::S3Data;
use super::claims::Claims;
use super::data::{BucketData, Conditions, hex, internal};
use super::objects::check_key;
use super::record::{Checksums, Headers, ObjectRecord, PartRecord, UploadRecord, timestamp};
use crate::env::now_ms;

/// Every part but the last has at least so many bytes (S3 user guide, "Multipart upload limits").
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
const PART_NUMBER_MAX: i32 = 10_000;

impl S3Data {
    pub(super) fn create_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        check_key(&input.key)?;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        fs::create_dir(bucket.path(&format!("uploads/{id}"))).map_err(internal)?;
        let record = UploadRecord {
            key: input.key.clone(),
            started_ms: now_ms(),
            headers: Headers {
                content_type: input.content_type,
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: input.content_encoding,
                content_language: input.content_language,
                metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            },
        };
        bucket.write_record(&format!("uploads/{id}/upload.json"), &record)?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        })
    }

    pub(super) async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<UploadPartOutput> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        upload(&bucket, &input.upload_id, &input.key)?;
        check_part_number(input.part_number)?;
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
            let _ = fs::remove_file(bucket.blob_path(&received.blob));
            return Err(error);
        }
        let part = PartRecord {
            number: input.part_number,
            size_bytes: received.size_bytes,
            etag: hex(&received.md5),
            modified_ms: now_ms(),
            blob: received.blob,
            checksums: received.checksums,
        };
        put_part(&bucket, &input.upload_id, &part)?;
        Ok(UploadPartOutput {
            e_tag: Some(ETag::Strong(part.etag)),
            checksum_crc32: part.checksums.crc32,
            checksum_crc32c: part.checksums.crc32c,
            checksum_crc64nvme: part.checksums.crc64nvme,
            checksum_sha1: part.checksums.sha1,
            checksum_sha256: part.checksums.sha256,
            ..Default::default()
        })
    }

    pub(super) async fn upload_part_copy(
        &self,
        input: UploadPartCopyInput,
    ) -> S3Result<UploadPartCopyOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        upload(&bucket, &input.upload_id, &input.key)?;
        check_part_number(input.part_number)?;
        let (from, source) = self.source(&input.copy_source)?;
        let range = match &input.copy_source_range {
            None => 0..source.size_bytes,
            Some(text) => copy_range(text, source.size_bytes)?,
        };
        let mut file = tokio::fs::File::open(from.blob_path(&source.blob))
            .await
            .map_err(internal)?;
        file.seek(io::SeekFrom::Start(range.start))
            .await
            .map_err(internal)?;
        let body = StreamingBlob::wrap(ReaderStream::new(file.take(range.end - range.start)));
        let received = bucket
            .receive(Some(body), ChecksumHasher::default())
            .await?;
        let part = PartRecord {
            number: input.part_number,
            size_bytes: received.size_bytes,
            etag: hex(&received.md5),
            modified_ms: now_ms(),
            blob: received.blob,
            checksums: received.checksums,
        };
        put_part(&bucket, &input.upload_id, &part)?;
        let result = CopyPartResult {
            e_tag: Some(ETag::Strong(part.etag)),
            last_modified: Some(timestamp(part.modified_ms)),
            ..Default::default()
        };
        Ok(UploadPartCopyOutput {
            copy_part_result: Some(result),
            ..Default::default()
        })
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let record = upload(&bucket, &input.upload_id, &input.key)?;
        let asked = input
            .multipart_upload
            .and_then(|upload| upload.parts)
            .unwrap_or_default();
        let parts = chosen_parts(&bucket, &input.upload_id, &asked)?;

        // Whoever moves the folder away completes the upload; a second try finds none.
        let claimed = format!("uploads/{}.completing", input.upload_id);
        fs::rename(
            bucket.path(&format!("uploads/{}", input.upload_id)),
            bucket.path(&claimed),
        )
        .map_err(|_| no_upload())?;
        let outcome = assemble(
            &bucket,
            &record,
            &parts,
            Conditions {
                if_match: input.if_match,
                if_none_match: input.if_none_match,
            },
        )
        .await;
        let object = match outcome {
            Ok(object) => object,
            Err(error) => {
                // The upload stays, as S3's does: the client may abort it or try again.
                let back = bucket.path(&format!("uploads/{}", input.upload_id));
                fs::rename(bucket.path(&claimed), back).map_err(internal)?;
                return Err(error);
            }
        };
        remove_upload(&bucket, &claimed)?;
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, object.key)),
            bucket: Some(input.bucket),
            e_tag: Some(object.etag()),
            key: Some(object.key),
            ..Default::default()
        })
    }

    pub(super) fn abort_upload(&self, input: &AbortMultipartUploadInput) -> S3Result<()> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        upload(&bucket, &input.upload_id, &input.key)?;
        remove_upload(&bucket, &format!("uploads/{}", input.upload_id))
    }

    pub(super) fn list_parts(&self, input: &ListPartsInput) -> S3Result<ListPartsOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        upload(&bucket, &input.upload_id, &input.key)?;
        let after = input.part_number_marker.unwrap_or(0);
        let limit = input.max_parts.unwrap_or(1000).clamp(0, 1000);
        let mut parts: Vec<Part> = parts_of(&bucket, &format!("uploads/{}", input.upload_id))?
            .into_iter()
            .filter(|part| part.number > after)
            .map(|part| Part {
                part_number: Some(part.number),
                size: i64::try_from(part.size_bytes).ok(),
                e_tag: Some(ETag::Strong(part.etag)),
                last_modified: Some(timestamp(part.modified_ms)),
                ..Default::default()
            })
            .collect();
        let limit_count = usize::try_from(limit).unwrap_or(0);
        let truncated = parts.len() > limit_count;
        parts.truncate(limit_count);
        Ok(ListPartsOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(input.upload_id.clone()),
            max_parts: Some(limit),
            is_truncated: Some(truncated),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            parts: Some(parts),
            ..Default::default()
        })
    }

    pub(super) fn list_uploads(
        &self,
        input: &ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let mut uploads = Vec::new();
        for entry in fs::read_dir(bucket.path("uploads")).map_err(internal)? {
            let id = entry
                .map_err(internal)?
                .file_name()
                .to_string_lossy()
                .into_owned();
            let Some(record) =
                bucket.read_record::<UploadRecord>(&format!("uploads/{id}/upload.json"))?
            else {
                continue;
            };
            if record.key.starts_with(&prefix) {
                uploads.push((
                    record.key.clone(),
                    MultipartUpload {
                        key: Some(record.key),
                        upload_id: Some(id),
                        initiated: Some(timestamp(record.started_ms)),
                        ..Default::default()
                    },
                ));
            }
        }
        uploads.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket.clone()),
            prefix: input.prefix.clone(),
            is_truncated: Some(false),
            uploads: Some(uploads.into_iter().map(|(_, upload)| upload).collect()),
            ..Default::default()
        })
    }
}

fn no_upload() -> s3s::S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    )
}

/// The upload, if its id is one of ours (never a path) and belongs to the key.
fn upload(bucket: &BucketData, id: &str, key: &str) -> S3Result<UploadRecord> {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(no_upload());
    }
    bucket
        .read_record::<UploadRecord>(&format!("uploads/{id}/upload.json"))?
        .filter(|record| record.key == key)
        .ok_or_else(no_upload)
}

fn check_part_number(number: i32) -> S3Result<()> {
    if (1..=PART_NUMBER_MAX).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(
        InvalidArgument,
        "Part number must be an integer between 1 and 10000, inclusive"
    ))
}

fn put_part(bucket: &BucketData, id: &str, part: &PartRecord) -> S3Result<()> {
    let name = format!("uploads/{id}/{}.json", part.number);
    let before = bucket.read_record::<PartRecord>(&name)?;
    bucket.write_record(&name, part).map_err(|_| no_upload())?;
    if let Some(before) = before {
        let _ = fs::remove_file(bucket.blob_path(&before.blob));
    }
    Ok(())
}

fn parts_of(bucket: &BucketData, folder: &str) -> S3Result<Vec<PartRecord>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(bucket.path(folder)).map_err(internal)? {
        let name = entry.map_err(internal)?.file_name();
        let is_part = name
            .to_string_lossy()
            .strip_suffix(".json")
            .is_some_and(|n| n.parse::<i32>().is_ok());
        if is_part {
            parts.extend(
                bucket
                    .read_record::<PartRecord>(&format!("{folder}/{}", name.to_string_lossy()))?,
            );
        }
    }
    parts.sort_by_key(|part| part.number);
    Ok(parts)
}

/// The parts a client names, checked: order, ETags, sizes.
fn chosen_parts(
    bucket: &BucketData,
    id: &str,
    asked: &[CompletedPart],
) -> S3Result<Vec<PartRecord>> {
    if asked.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "You must specify at least one part"
        ));
    }
    let numbers: Vec<i32> = asked
        .iter()
        .map(|part| part.part_number.unwrap_or(0))
        .collect();
    if numbers.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(s3_error!(
            InvalidPartOrder,
            "The list of parts was not in ascending order. The parts list must be specified in order by part number."
        ));
    }
    let there = parts_of(bucket, &format!("uploads/{id}"))?;
    let mut parts = Vec::new();
    for asked in asked {
        let found = there
            .iter()
            .find(|part| Some(part.number) == asked.part_number)
            .filter(|part| {
                asked
                    .e_tag
                    .as_ref()
                    .is_none_or(|etag| etag.value() == part.etag)
            });
        parts.push(found.cloned().ok_or_else(|| {
            s3_error!(
                InvalidPart,
                "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
            )
        })?);
    }
    let small = parts[..parts.len() - 1]
        .iter()
        .any(|part| part.size_bytes < PART_BYTES_MIN);
    if small {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ));
    }
    Ok(parts)
}

async fn assemble(
    bucket: &BucketData,
    upload: &UploadRecord,
    parts: &[PartRecord],
    conditions: Conditions,
) -> S3Result<ObjectRecord> {
    let blob = uuid::Uuid::new_v4().to_string();
    let mut target = tokio::fs::File::create(bucket.blob_path(&blob))
        .await
        .map_err(internal)?;
    let mut md5 = Md5::new();
    let mut size_bytes = 0;
    for part in parts {
        let mut source = tokio::fs::File::open(bucket.blob_path(&part.blob))
            .await
            .map_err(internal)?;
        size_bytes += tokio::io::copy(&mut source, &mut target)
            .await
            .map_err(internal)?;
        for index in (0..part.etag.len()).step_by(2) {
            md5.update([u8::from_str_radix(&part.etag[index..index + 2], 16).unwrap_or(0)]);
        }
    }
    tokio::io::AsyncWriteExt::flush(&mut target)
        .await
        .map_err(internal)?;
    let object = ObjectRecord {
        key: upload.key.clone(),
        size_bytes,
        etag: format!("{}-{}", hex(&md5.finalize()), parts.len()),
        modified_ms: now_ms(),
        blob,
        headers: upload.headers.clone(),
        checksums: Checksums::default(),
        part_count: i32::try_from(parts.len()).ok(),
    };
    bucket.commit(&object, &conditions)?;
    Ok(object)
}

fn remove_upload(bucket: &BucketData, folder: &str) -> S3Result<()> {
    for part in parts_of(bucket, folder)? {
        let _ = fs::remove_file(bucket.blob_path(&part.blob));
    }
    fs::remove_dir_all(bucket.path(folder)).map_err(internal)
}

/// `bytes=first-last`, both given, as `UploadPartCopy` demands.
fn copy_range(text: &str, size_bytes: u64) -> S3Result<std::ops::Range<u64>> {
    let parsed = text.strip_prefix("bytes=").and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    });
    match parsed {
        Some((first, last)) if first <= last && last < size_bytes => Ok(first..last + 1),
        Some(_) => Err(s3_error!(
            InvalidRange,
            "The requested range is not satisfiable"
        )),
        None => Err(s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"
        )),
    }
}

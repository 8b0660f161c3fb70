//! Files → S3 objects: streamed from disk, large ones in parts, so that memory does not grow with the file.

use std::path::Path;

use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures::StreamExt as _;
use futures::TryStreamExt as _;

use super::error::cloud_error;
use super::objects::{outcome, quoted, subject, written};
use super::{Cloud, CloudError, CloudErrorKind, PutOptions, PutOutcome};
use crate::names::BucketName;

/// Files above this size go up in parts.
const MULTIPART_THRESHOLD_BYTES: u64 = 16 * 1024 * 1024;

/// Size of a part, unless the file needs larger ones to stay within [`PARTS_MAX`]. S3 asks for at least 5 MiB.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// S3's limit.
const PARTS_MAX: u64 = 10_000;

/// Parts in flight.
const PARTS_IN_FLIGHT: usize = 4;

const OPERATION: &str = "upload the file";

/// A file on its way into a bucket.
#[derive(Clone, Copy)]
struct Upload<'a> {
    bucket: &'a BucketName,
    key: &'a str,
    path: &'a Path,
    size_bytes: u64,
    options: &'a PutOptions,
}

impl Cloud {
    /// Writes the file at `path` as an object.
    ///
    /// # Errors
    /// The file cannot be read, besides what the service refuses. No parts are left behind.
    pub async fn put_object_file(
        &self,
        bucket: &BucketName,
        key: &str,
        path: &Path,
        options: &PutOptions,
    ) -> Result<PutOutcome, CloudError> {
        let etag = self.write_object_file(bucket, key, path, options).await?;
        Ok(outcome(etag.as_deref()))
    }

    /// Like [`Cloud::put_object_file`], but answers the new object's entity tag, or `None` if it was already there.
    pub async fn write_object_file(
        &self,
        bucket: &BucketName,
        key: &str,
        path: &Path,
        options: &PutOptions,
    ) -> Result<Option<String>, CloudError> {
        let size_bytes = tokio::fs::metadata(path)
            .await
            .map_err(|error| unreadable(path, &error))?
            .len();
        if size_bytes > MULTIPART_THRESHOLD_BYTES {
            let upload = Upload {
                bucket,
                key,
                path,
                size_bytes,
                options,
            };
            return self.put_in_parts(upload).await;
        }
        let content = tokio::fs::read(path)
            .await
            .map_err(|error| unreadable(path, &error))?;
        self.write_object(bucket, key, content.into(), options)
            .await
    }

    /// Asks S3 whether an object may be written there: an upload is begun and given up, and nothing is there afterwards.
    ///
    /// # Errors
    /// It may not: `AccessDenied` or `NotFound`.
    pub async fn check_writable(&self, bucket: &BucketName, key: &str) -> Result<(), CloudError> {
        let begun = self.clients.s3.create_multipart_upload();
        let begun = begun.bucket(bucket.as_str()).key(key).send().await;
        let begun = begun.map_err(|error| cloud_error(OPERATION, subject(bucket, key), &error))?;
        let upload_id = begun.upload_id.unwrap_or_default();
        self.give_up(bucket, key, &upload_id).await;
        Ok(())
    }

    /// Removes the parts of an upload. The bucket's lifecycle removes what this cannot, so its failure hides nothing else.
    async fn give_up(&self, bucket: &BucketName, key: &str, upload_id: &str) {
        let aborted = self.clients.s3.abort_multipart_upload();
        let aborted = aborted
            .bucket(bucket.as_str())
            .key(key)
            .upload_id(upload_id)
            .send()
            .await;
        if let Err(error) = aborted {
            tracing::debug!(%bucket, key, %error, "could not remove the parts of a failed upload");
        }
    }

    async fn put_in_parts(&self, upload: Upload<'_>) -> Result<Option<String>, CloudError> {
        let Upload {
            bucket,
            key,
            options,
            ..
        } = upload;
        if options.if_absent && self.head_object(bucket, key).await?.is_some() {
            return Ok(None);
        }
        let s3 = &self.clients.s3;
        let upload_id = s3
            .create_multipart_upload()
            .bucket(bucket.as_str())
            .key(key)
            .set_content_type(options.content_type.clone())
            .set_cache_control(options.cache_control.clone())
            .set_content_disposition(options.content_disposition.clone())
            .send()
            .await
            .map_err(|error| cloud_error(OPERATION, subject(bucket, key), &error))?
            .upload_id
            .unwrap_or_default();
        let etag = self.send_parts(upload, &upload_id).await;
        if !matches!(etag, Ok(Some(_))) {
            self.give_up(bucket, key, &upload_id).await;
        }
        etag
    }

    async fn send_parts(
        &self,
        upload: Upload<'_>,
        upload_id: &str,
    ) -> Result<Option<String>, CloudError> {
        let Upload {
            bucket,
            key,
            path,
            size_bytes,
            options,
        } = upload;
        let part_bytes = PART_BYTES.max(size_bytes.div_ceil(PARTS_MAX));
        let mut parts: Vec<CompletedPart> =
            futures::stream::iter((1..).zip(0..size_bytes.div_ceil(part_bytes)))
                .map(|(number, index)| async move {
                    let offset = index * part_bytes;
                    let body = ByteStream::read_from()
                        .path(path)
                        .offset(offset)
                        .length(Length::Exact(part_bytes.min(size_bytes - offset)))
                        .build()
                        .await
                        .map_err(|error| unreadable(path, &error))?;
                    let part = self
                        .clients
                        .s3
                        .upload_part()
                        .bucket(bucket.as_str())
                        .key(key)
                        .upload_id(upload_id)
                        .part_number(number)
                        .body(body)
                        .customize()
                        .config_override(self.clients.s3_upload())
                        .send()
                        .await
                        .map_err(|error| cloud_error(OPERATION, subject(bucket, key), &error))?;
                    Ok::<_, CloudError>(
                        CompletedPart::builder()
                            .part_number(number)
                            .set_e_tag(part.e_tag)
                            .build(),
                    )
                })
                .buffer_unordered(PARTS_IN_FLIGHT)
                .try_collect()
                .await?;
        parts.sort_by_key(CompletedPart::part_number);
        let completed = self
            .clients
            .s3
            .complete_multipart_upload()
            .bucket(bucket.as_str())
            .key(key)
            .upload_id(upload_id)
            .set_if_none_match(options.if_absent.then(|| "*".to_owned()))
            .set_if_match(options.if_match.as_deref().map(quoted))
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts))
                    .build(),
            )
            .send()
            .await;
        let etag = completed.map(|answer| answer.e_tag);
        match written(etag, options.if_absent, bucket, key) {
            // Another conditional write is ending at the same moment; whoever it is, the key is taken if it shows.
            Err(error)
                if options.if_absent
                    && error.kind == CloudErrorKind::Conflict
                    && self.head_object(bucket, key).await?.is_some() =>
            {
                Ok(None)
            }
            other => other,
        }
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> CloudError {
    CloudError::own(
        OPERATION,
        path.display(),
        CloudErrorKind::Invalid,
        format!("the file cannot be read: {error}"),
    )
}

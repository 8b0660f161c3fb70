//! S3 objects: read, write once or again, list, delete, presign.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2FluentBuilder;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bytes::Bytes;
use tokio::io::AsyncRead;

use super::error::cloud_error;
use super::{Cloud, CloudError, CloudErrorKind};
use crate::names::BucketName;

/// Pages of a listing that are read before it is refused as too large: a million objects.
const LIST_PAGES_MAX: usize = 1_000;

/// Objects that one `DeleteObjects` call takes.
const DELETE_BATCH: usize = 1_000;

/// Attempts of a conditional write that keeps colliding with another writer.
const COLLISION_ATTEMPTS_MAX: usize = 5;

/// How an object is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// Write only if there is no object of that key yet. Of several writers exactly one wins.
    pub if_absent: bool,
    /// Write only over the object of this entity tag: `PreconditionFailed` if it is another by now, `NotFound` if it is
    /// gone. S3 compares at the moment of writing.
    pub if_match: Option<String>,
}

impl PutOptions {
    fn is_conditional(&self) -> bool {
        self.if_absent || self.if_match.is_some()
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is the one just written.
    Written,
    /// There was one already, and it was left as it is.
    AlreadyThere,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Key.
    pub key: String,
    /// Size.
    pub size_bytes: u64,
    /// Entity tag without quotes: the content's MD5, unless it was uploaded in parts.
    pub etag: String,
}

/// A small object, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub content: Bytes,
    /// Its entity tag, without quotes.
    pub etag: String,
}

/// An object being read.
pub struct ObjectReader {
    /// Size of what is being read: of the range, if one was asked for.
    pub size_bytes: u64,
    /// Entity tag of the whole object, without quotes.
    pub etag: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// The content, as it arrives.
    pub body: Box<dyn AsyncRead + Send + Unpin>,
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectReader")
            .field("size_bytes", &self.size_bytes)
            .field("content_type", &self.content_type)
            .finish_non_exhaustive()
    }
}

impl Cloud {
    /// Writes an object that is held in memory.
    pub async fn put_object(
        &self,
        bucket: &BucketName,
        key: &str,
        content: Bytes,
        options: &PutOptions,
    ) -> Result<PutOutcome, CloudError> {
        let etag = self.write_object(bucket, key, content, options).await?;
        Ok(outcome(etag.as_deref()))
    }

    /// Like [`Cloud::put_object`], but answers the new object's entity tag, or `None` if it was already there.
    pub async fn write_object(
        &self,
        bucket: &BucketName,
        key: &str,
        content: Bytes,
        options: &PutOptions,
    ) -> Result<Option<String>, CloudError> {
        let send = || {
            self.clients
                .s3
                .put_object()
                .bucket(bucket.as_str())
                .key(key)
                .body(ByteStream::from(content.clone()))
                .set_content_type(options.content_type.clone())
                .set_cache_control(options.cache_control.clone())
                .set_content_disposition(options.content_disposition.clone())
                .set_if_none_match(options.if_absent.then(|| "*".to_owned()))
                .set_if_match(options.if_match.as_deref().map(quoted))
                .customize()
                .config_override(self.clients.s3_upload())
                .send()
        };
        let mut attempt = 1;
        loop {
            let etag = send().await.map(|answer| answer.e_tag);
            match written(etag, options.if_absent, bucket, key) {
                // Two conditional writes at the same moment: S3 asks the loser to try again.
                Err(error)
                    if options.is_conditional()
                        && error.kind == CloudErrorKind::Conflict
                        && attempt < COLLISION_ATTEMPTS_MAX =>
                {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                other => return other,
            }
        }
    }

    /// Reads a whole object into memory; for small ones.
    pub async fn get_object(&self, bucket: &BucketName, key: &str) -> Result<Bytes, CloudError> {
        Ok(self.object(bucket, key).await?.content)
    }

    /// The same with its entity tag, for whoever means to write over it.
    pub async fn object(&self, bucket: &BucketName, key: &str) -> Result<Object, CloudError> {
        let operation = "read the object";
        let answer = self
            .clients
            .s3
            .get_object()
            .bucket(bucket.as_str())
            .key(key)
            .send()
            .await
            .map_err(|error| cloud_error(operation, subject(bucket, key), &error))?;
        collected(answer, operation, subject(bucket, key)).await
    }

    /// Opens an object, or the bytes `range` of it, for reading as it arrives.
    pub async fn read_object(
        &self,
        bucket: &BucketName,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<ObjectReader, CloudError> {
        let range = range.map(|r| format!("bytes={}-{}", r.start, r.end.saturating_sub(1)));
        let answer = self
            .clients
            .s3
            .get_object()
            .bucket(bucket.as_str())
            .key(key)
            .set_range(range)
            .send()
            .await
            .map_err(|error| cloud_error("read the object", subject(bucket, key), &error))?;
        Ok(ObjectReader {
            size_bytes: size(answer.content_length),
            etag: unquoted(answer.e_tag),
            content_type: answer.content_type,
            body: Box::new(answer.body.into_async_read()),
        })
    }

    /// What there is at `key`; `None` if nothing.
    pub async fn head_object(
        &self,
        bucket: &BucketName,
        key: &str,
    ) -> Result<Option<ObjectInfo>, CloudError> {
        let answer = self
            .clients
            .s3
            .head_object()
            .bucket(bucket.as_str())
            .key(key)
            .send()
            .await
            .map_err(|error| cloud_error("look at the object", subject(bucket, key), &error));
        match answer {
            Ok(head) => Ok(Some(ObjectInfo {
                key: key.to_owned(),
                size_bytes: size(head.content_length),
                etag: unquoted(head.e_tag),
            })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects whose key begins with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// More than a million of them, besides what the service refuses.
    pub async fn list_objects(
        &self,
        bucket: &BucketName,
        prefix: &str,
    ) -> Result<Vec<ObjectInfo>, CloudError> {
        match self
            .list_first_objects(bucket, prefix, LIST_PAGES_MAX)
            .await?
        {
            (objects, true) => Ok(objects),
            (objects, false) => Err(CloudError::own(
                "list the objects",
                subject(bucket, prefix),
                CloudErrorKind::Other,
                format!("more than {} objects", objects.len()),
            )),
        }
    }

    fn listing(&self, bucket: &BucketName, prefix: &str) -> ListObjectsV2FluentBuilder {
        let request = self.clients.s3.list_objects_v2();
        request.bucket(bucket.as_str()).prefix(prefix)
    }

    /// The folders below `prefix`: keys up to the next `/`, a thousand on each page, and whether those are all.
    pub async fn list_common_prefixes(
        &self,
        bucket: &BucketName,
        prefix: &str,
        pages_max: usize,
    ) -> Result<(Vec<String>, bool), CloudError> {
        let mut prefixes = Vec::new();
        let mut continuation = None;
        for _ in 0..pages_max {
            let request = self.listing(bucket, prefix).delimiter("/");
            let page = request.set_continuation_token(continuation).send().await;
            let page = page.map_err(|error| {
                cloud_error("list the folders", subject(bucket, prefix), &error)
            })?;
            let listed = page.common_prefixes.unwrap_or_default().into_iter();
            prefixes.extend(listed.filter_map(|listed| listed.prefix));
            continuation = page.next_continuation_token;
            if continuation.is_none() {
                return Ok((prefixes, true));
            }
        }
        Ok((prefixes, false))
    }

    /// The first objects whose key begins with `prefix`, a thousand on each page, and whether those are all.
    pub async fn list_first_objects(
        &self,
        bucket: &BucketName,
        prefix: &str,
        pages_max: usize,
    ) -> Result<(Vec<ObjectInfo>, bool), CloudError> {
        let mut objects = Vec::new();
        let mut continuation = None;
        for _ in 0..pages_max {
            let request = self.listing(bucket, prefix);
            let page = request.set_continuation_token(continuation).send().await;
            let page = page.map_err(|error| {
                cloud_error("list the objects", subject(bucket, prefix), &error)
            })?;
            objects.extend(
                page.contents
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|object| {
                        Some(ObjectInfo {
                            key: object.key?,
                            size_bytes: size(object.size),
                            etag: unquoted(object.e_tag),
                        })
                    }),
            );
            continuation = page.next_continuation_token;
            if continuation.is_none() {
                return Ok((objects, true));
            }
        }
        Ok((objects, false))
    }

    /// Deletes objects. Keys without an object are no error.
    pub async fn delete_objects(
        &self,
        bucket: &BucketName,
        keys: &[String],
    ) -> Result<(), CloudError> {
        let objects: Vec<(&str, Option<&str>)> =
            keys.iter().map(|key| (key.as_str(), None)).collect();
        self.delete_each(bucket, &objects).await
    }

    /// Deletes objects that are still at the entity tag they are listed with. Those that are gone are no error.
    ///
    /// # Errors
    /// `PreconditionFailed` if one is another by now, besides what the service refuses. Others may be deleted.
    pub async fn delete_unchanged_objects(
        &self,
        bucket: &BucketName,
        objects: &[ObjectInfo],
    ) -> Result<(), CloudError> {
        let objects: Vec<(&str, Option<&str>)> = objects
            .iter()
            .map(|object| (object.key.as_str(), Some(object.etag.as_str())))
            .collect();
        self.delete_each(bucket, &objects).await
    }

    async fn delete_each(
        &self,
        bucket: &BucketName,
        objects: &[(&str, Option<&str>)],
    ) -> Result<(), CloudError> {
        let operation = "delete the objects";
        for batch in objects.chunks(DELETE_BATCH) {
            let invalid = |error: aws_sdk_s3::error::BuildError| {
                CloudError::own(
                    operation,
                    bucket,
                    CloudErrorKind::Invalid,
                    error.to_string(),
                )
            };
            let identifiers = batch
                .iter()
                .map(|(key, etag)| {
                    let identifier = ObjectIdentifier::builder().key(*key);
                    identifier.set_e_tag(etag.map(quoted)).build()
                })
                .collect::<Result<Vec<_>, _>>()
                .map_err(invalid)?;
            let delete = Delete::builder()
                .set_objects(Some(identifiers))
                .quiet(true)
                .build()
                .map_err(invalid)?;
            let answer = self
                .clients
                .s3
                .delete_objects()
                .bucket(bucket.as_str())
                .delete(delete)
                .send()
                .await
                .map_err(|error| cloud_error(operation, bucket, &error))?;
            let mut errors = answer.errors().iter();
            if let Some(first) = errors.find(|error| error.code() != Some("NoSuchKey")) {
                return Err(CloudError {
                    operation,
                    subject: subject(bucket, first.key().unwrap_or_default()),
                    api: Some("s3:DeleteObjects".into()),
                    kind: match first.code() {
                        Some("AccessDenied") => CloudErrorKind::AccessDenied,
                        Some("PreconditionFailed") => CloudErrorKind::PreconditionFailed,
                        _ => CloudErrorKind::Other,
                    },
                    code: first.code().map(Box::from),
                    request_id: None,
                    message: first.message().unwrap_or("not deleted").to_owned(),
                });
            }
        }
        Ok(())
    }

    /// A link with which anybody may read the object for `valid_for` (at most 7 days, S3's limit).
    pub async fn presign_get(
        &self,
        bucket: &BucketName,
        key: &str,
        valid_for: Duration,
    ) -> Result<String, CloudError> {
        let operation = "make a link to the object";
        let presigning = PresigningConfig::expires_in(valid_for).map_err(|error| {
            CloudError::own(
                operation,
                subject(bucket, key),
                CloudErrorKind::Invalid,
                error.to_string(),
            )
        })?;
        let request = self
            .clients
            .s3
            .get_object()
            .bucket(bucket.as_str())
            .key(key)
            .presigned(presigning)
            .await
            .map_err(|error| cloud_error(operation, subject(bucket, key), &error))?;
        Ok(request.uri().to_owned())
    }
}

/// `BUCKET/KEY`, as errors name an object.
pub(super) fn subject(bucket: &BucketName, key: &str) -> String {
    format!("s3://{bucket}/{key}")
}

/// An answer that carries an object, read to its end.
pub(super) async fn collected(
    answer: GetObjectOutput,
    operation: &'static str,
    subject: String,
) -> Result<Object, CloudError> {
    let etag = unquoted(answer.e_tag);
    let content = answer.body.collect().await.map_err(|error| {
        CloudError::own(
            operation,
            subject,
            CloudErrorKind::Unavailable,
            format!("the connection broke: {error}"),
        )
    })?;
    Ok(Object {
        content: content.into_bytes(),
        etag,
    })
}

/// The entity tag that a write made, or `None` if it was conditional and there was an object already.
pub(super) fn written<E>(
    result: Result<Option<String>, SdkError<E>>,
    if_absent: bool,
    bucket: &BucketName,
    key: &str,
) -> Result<Option<String>, CloudError>
where
    E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + 'static,
{
    match result {
        Ok(etag) => Ok(Some(unquoted(etag))),
        Err(error) => {
            let error = cloud_error("write the object", subject(bucket, key), &error);
            if if_absent && error.kind == CloudErrorKind::PreconditionFailed {
                Ok(None)
            } else {
                Err(error)
            }
        }
    }
}

/// The outcome for those who need no entity tag.
pub(super) fn outcome(etag: Option<&str>) -> PutOutcome {
    match etag {
        Some(_) => PutOutcome::Written,
        None => PutOutcome::AlreadyThere,
    }
}

fn size(length: Option<i64>) -> u64 {
    length
        .and_then(|length| u64::try_from(length).ok())
        .unwrap_or(0)
}

/// An entity tag as it stands in requests.
pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

pub(super) fn unquoted(etag: Option<String>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

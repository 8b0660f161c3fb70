//! S3 objects that several writers share: read together with their entity tag, and replaced or deleted only as long as
//! they still are what was read.
//!
//! Of two that write at the same moment S3 refuses one with 409 `ConditionalRequestConflict` and asks it to try again
//! (S3 user guide, "Conditional write behavior"); that is done here, so callers see only won or lost.

use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::error::cloud_error;
use super::objects::{Object, collected, quoted, subject, unquoted};
use super::wait::jittered;
use super::{Cloud, CloudError, CloudErrorKind};
use crate::names::BucketName;

/// Attempts of a conditional request that keeps colliding with others: about ten seconds.
const COLLISION_ATTEMPTS_MAX: u32 = 10;

/// The pause after the first collision; each further one is twice as long, up to [`COLLISION_PAUSE_MAX`].
const COLLISION_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts.
const COLLISION_PAUSE_MAX: Duration = Duration::from_secs(2);

/// What must hold for an object to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition<'a> {
    /// There is none of that key.
    Absent,
    /// It still is the one with this entity tag.
    Unchanged(&'a str),
}

impl Cloud {
    /// A whole object with its entity tag; `None` if there is none of that key.
    ///
    /// # Errors
    /// It cannot be read. `NotFound` means that there is no such bucket.
    pub async fn tagged_object(
        &self,
        bucket: &BucketName,
        key: &str,
    ) -> Result<Option<Object>, CloudError> {
        let operation = "read the object";
        let request = self.clients.s3.get_object();
        let answer = request.bucket(bucket.as_str()).key(key).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(cloud_error(operation, subject(bucket, key), &error)),
        };
        collected(answer, operation, subject(bucket, key))
            .await
            .map(Some)
    }

    /// Writes an object if `precondition` holds, and answers its new entity tag; `None` if it does not hold.
    ///
    /// When the answer to a write is lost, the request is sent again and may then find its own object: `None` says
    /// that somebody wrote, not who.
    ///
    /// # Errors
    /// It cannot be written, or others kept writing at the same moment.
    pub async fn write_object_if(
        &self,
        bucket: &BucketName,
        key: &str,
        content: Bytes,
        precondition: Precondition<'_>,
    ) -> Result<Option<String>, CloudError> {
        let mut collisions = Collisions::default();
        loop {
            let request = self.clients.s3.put_object();
            let request = request
                .bucket(bucket.as_str())
                .key(key)
                .content_type("application/json")
                .body(ByteStream::from(content.clone()));
            let request = match precondition {
                Precondition::Absent => request.if_none_match("*"),
                Precondition::Unchanged(etag) => request.if_match(quoted(etag)),
            };
            let answer = request.send().await;
            match holds(answer, "write the object", bucket, key) {
                Err(error) if collisions.try_again_after(&error).await => {}
                answer => return Ok(answer?.map(|answer| unquoted(answer.e_tag))),
            }
        }
    }

    /// Deletes an object if it still is the one with `etag`; whether it was.
    ///
    /// # Errors
    /// It cannot be deleted, or others kept writing at the same moment.
    pub async fn delete_object_if(
        &self,
        bucket: &BucketName,
        key: &str,
        etag: &str,
    ) -> Result<bool, CloudError> {
        let mut collisions = Collisions::default();
        loop {
            let request = self.clients.s3.delete_object();
            let request = request.bucket(bucket.as_str()).key(key);
            let answer = request.if_match(quoted(etag)).send().await;
            match holds(answer, "delete the object", bucket, key) {
                Err(error) if collisions.try_again_after(&error).await => {}
                answer => return Ok(answer?.is_some()),
            }
        }
    }
}

/// `None` where the precondition did not hold. Of a key without an object S3 says `NoSuchKey`.
fn holds<T, E>(
    answer: Result<T, SdkError<E>>,
    operation: &'static str,
    bucket: &BucketName,
    key: &str,
) -> Result<Option<T>, CloudError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
        Err(error) => {
            let error = cloud_error(operation, subject(bucket, key), &error);
            match error.kind {
                CloudErrorKind::PreconditionFailed => Ok(None),
                _ => Err(error),
            }
        }
    }
}

/// How often one request has met another one.
#[derive(Default)]
struct Collisions(u32);

impl Collisions {
    /// Pauses if `error` is a collision, and there have not been too many; whether the request is to be sent again.
    async fn try_again_after(&mut self, error: &CloudError) -> bool {
        self.0 += 1;
        if error.kind != CloudErrorKind::Conflict || self.0 >= COLLISION_ATTEMPTS_MAX {
            return false;
        }
        let pause = COLLISION_PAUSE * 2_u32.pow(self.0 - 1);
        tokio::time::sleep(jittered(pause.min(COLLISION_PAUSE_MAX))).await;
        true
    }
}

//! Results of tasks, into the bucket: what another copy of the same task has left there stays.

use std::path::Path;

use super::failure::{TaskResult, internal, permanent, storage};
use super::task::Worker;
use crate::cloud::{PutOptions, PutOutcome};
use crate::names::BucketName;
use crate::protocol::{FailureKind, running};

impl Worker {
    /// Fails once the render to which `key` belongs has ended: a copy of a task that comes too late leaves nothing, for
    /// nobody would remove it.
    pub(super) async fn check_awaited(&self, bucket: &BucketName, key: &str) -> TaskResult<()> {
        let Some(document) = running::document_of(key) else {
            return Ok(());
        };
        let found = self.cloud()?.head_object(bucket, &document).await;
        match found.map_err(|error| storage(&error))? {
            Some(_) => Ok(()),
            None => {
                let message = "the render has ended, so what was made for it is not kept";
                Err(permanent(FailureKind::BadRequest, message))
            }
        }
    }

    /// Uploads a file unless an earlier copy of the task has; returns the size of what is there, and which of the two it was.
    pub(super) async fn put(
        &self,
        bucket: &BucketName,
        key: &str,
        file: &Path,
        content_type: &str,
    ) -> TaskResult<(u64, PutOutcome)> {
        let size_bytes = file
            .metadata()
            .map_err(|error| internal(&format!("reading what becomes s3://{bucket}/{key}"), error))?
            .len();
        let options = PutOptions {
            content_type: Some(content_type.to_owned()),
            if_absent: true,
            ..PutOptions::default()
        };
        let outcome = self
            .cloud()?
            .put_object_file(bucket, key, file, &options)
            .await;
        let outcome = outcome.map_err(|error| storage(&error))?;
        let size_bytes = match outcome {
            // Two copies of a task need not make the same bytes: a page may not be deterministic.
            PutOutcome::AlreadyThere => {
                let there = self.cloud()?.head_object(bucket, key).await;
                let there = there.map_err(|error| storage(&error))?;
                there.map_or(size_bytes, |there| there.size_bytes)
            }
            _ => size_bytes,
        };
        Ok((size_bytes, outcome))
    }
}

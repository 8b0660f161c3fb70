//! A task's long texts, out of the bucket.

use serde_json::Value;

use super::failure::{TaskResult, internal, permanent, storage};
use super::task::Worker;
use crate::digest::Digest;
use crate::protocol::texts::{LONG_TEXTS, StoredText};
use crate::protocol::{FailureKind, WorkerTask};

/// Texts that are kept for the next task, which most often has the same ones: input props, and what they resolve to.
const KEPT_MAX: usize = 2;

impl Worker {
    /// The task of an invocation.
    pub(super) async fn read(&mut self, mut payload: Value) -> TaskResult<WorkerTask> {
        for pointer in LONG_TEXTS {
            if let Some(place) = payload.pointer_mut(pointer)
                && place.is_object()
            {
                let text =
                    serde_json::from_value(place.take()).map_err(|error| unreadable(&error))?;
                *place = Value::String(self.text(&text).await?);
            }
        }
        serde_json::from_value(payload).map_err(|error| unreadable(&error))
    }

    async fn text(&mut self, stored: &StoredText) -> TaskResult<String> {
        let StoredText {
            bucket,
            key,
            digest,
        } = stored;
        if let Some((_, text)) = self.texts.iter().find(|(kept, _)| kept == digest) {
            return Ok(text.clone());
        }
        let content = self.cloud()?.get_object(bucket, key).await;
        let content = content.map_err(|error| storage(&error))?;
        let reading = format!("reading s3://{bucket}/{key}");
        if Digest::of(&content) != *digest {
            return Err(internal(&reading, "it is not what the task means"));
        }
        let text = String::from_utf8(content.into()).map_err(|error| internal(&reading, error))?;
        if self.texts.len() == KEPT_MAX {
            self.texts.remove(0);
        }
        self.texts.push((*digest, text.clone()));
        Ok(text)
    }
}

fn unreadable(error: &serde_json::Error) -> crate::protocol::TaskFailure {
    permanent(
        FailureKind::BadRequest,
        format!("reading the task: {error}"),
    )
}

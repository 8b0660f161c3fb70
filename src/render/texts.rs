//! Long texts of tasks (props) on their way through the bucket: each is uploaded once, however many tasks have it.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::Mutex;

use crate::cloud::{Cloud, CloudError, PutOptions};
use crate::digest::Digest;
use crate::names::BucketName;
use crate::protocol::WorkerTask;
use crate::protocol::texts::{LONG_TEXTS, StoredText, TEXT_BYTES_MAX};

use super::document;
use super::invocation::payload;

/// The texts of the tasks of one run.
#[derive(Debug)]
pub(super) struct Texts {
    cloud: Cloud,
    bucket: BucketName,
    prefix: String,
    stored: Mutex<BTreeMap<Digest, StoredText>>,
}

impl Texts {
    pub(super) fn new(cloud: &Cloud, bucket: &BucketName) -> Self {
        Self {
            cloud: cloud.clone(),
            bucket: bucket.clone(),
            // Of this run alone, so that nobody else misses them when it ends.
            prefix: format!("{}texts/", document::prefix(&document::new_render_id())),
            stored: Mutex::default(),
        }
    }

    /// The bytes of a task, its long texts replaced.
    ///
    /// # Errors
    /// A text cannot be uploaded.
    pub(super) async fn payload(&self, task: &WorkerTask) -> Result<Vec<u8>, CloudError> {
        let whole = payload(task);
        if whole.len() <= TEXT_BYTES_MAX {
            return Ok(whole);
        }
        let mut short: Value =
            serde_json::from_slice(&whole).expect("what was just written as JSON can be read");
        for pointer in LONG_TEXTS {
            if let Some(place) = short.pointer_mut(pointer)
                && let Some(text) = place.as_str()
                && text.len() > TEXT_BYTES_MAX
            {
                let stored = self.stored(text).await?;
                *place = serde_json::to_value(stored).expect("its keys are strings");
            }
        }
        Ok(serde_json::to_vec(&short).expect("its keys are strings"))
    }

    /// Where a text lies, now at the latest.
    async fn stored(&self, text: &str) -> Result<StoredText, CloudError> {
        let digest = Digest::of(text);
        let mut stored = self.stored.lock().await;
        if let Some(stored) = stored.get(&digest) {
            return Ok(stored.clone());
        }
        let key = format!("{}{digest}.json", self.prefix);
        let content = text.to_owned().into();
        let options = PutOptions {
            content_type: Some("application/json".to_owned()),
            ..PutOptions::default()
        };
        self.cloud
            .put_object(&self.bucket, &key, content, &options)
            .await?;
        let text = StoredText {
            bucket: self.bucket.clone(),
            key,
            digest,
        };
        stored.insert(digest, text.clone());
        Ok(text)
    }

    /// Removes what was uploaded. What cannot be removed goes when the bucket's renders expire.
    pub(super) async fn remove(&self) {
        let stored = std::mem::take(&mut *self.stored.lock().await);
        let keys: Vec<String> = stored.into_values().map(|text| text.key).collect();
        if !keys.is_empty()
            && let Err(error) = self.cloud.delete_objects(&self.bucket, &keys).await
        {
            tracing::warn!("removing the props of a render from the bucket: {error}");
        }
    }
}

//! The state in S3: an object that a write replaces only if it still is what its writer saw last.
//!
//! ```text
//! s3://BUCKET/KEY                 the state
//! s3://BUCKET/KEY.lock            who works on it, and until when
//! s3://BUCKET/KEY.backups/12.json what the last commands that changed it found
//! ```
//!
//! The lease may be taken over while its holder is paused, so it is not what protects the state. The first act of
//! whoever gets the lease is to write the state again, unchanged but for the id of the lock ([`Remote::claim`]); every
//! write after that requires the entity tag of the writer's own last one. From the claim on, no write of an earlier
//! holder can take effect, however late it comes.

use bytes::Bytes;

use super::error::{Backup, StateError};
use super::file::{self, Content, Owner};
use super::kept::Kept;
use super::lease::{self, LeaseTerms};
use super::store::{BACKUPS_KEPT, unreadable};
use super::{State, lock::Holder};
pub(super) use crate::cloud::Precondition;
use crate::cloud::{Cloud, CloudError, CloudErrorKind, Object, PutOptions};
use crate::names::BucketName;

/// How often a write whose answer was lost, or a claim that met other writers, is looked into.
const ATTEMPTS_MAX: usize = 8;

/// An object of S3.
#[derive(Debug, Clone)]
pub struct S3Location {
    /// What it is reached through, in the bucket's region.
    pub cloud: Cloud,
    /// The bucket.
    pub bucket: BucketName,
    /// The key of the state.
    pub key: String,
}

/// Where a state is kept in S3.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) location: S3Location,
    pub(super) terms: LeaseTerms,
}

impl Remote {
    /// The state's object, as errors name it.
    pub(super) fn place(&self) -> String {
        format!("s3://{}/{}", self.location.bucket, self.location.key)
    }

    pub(super) fn lease_place(&self) -> String {
        format!("{}.lock", self.place())
    }

    fn lease_key(&self) -> String {
        format!("{}.lock", self.location.key)
    }

    fn backup_prefix(&self) -> String {
        format!("{}.backups/", self.location.key)
    }

    fn failed(&self, source: CloudError) -> StateError {
        match source.kind {
            CloudErrorKind::NotFound => StateError::NoBucket {
                bucket: self.location.bucket.to_string(),
            },
            _ => StateError::Cloud {
                place: self.place(),
                source: Box::new(source),
            },
        }
    }

    /// The error of something that took too long.
    pub(super) fn no_answer(&self, operation: &'static str) -> StateError {
        let kind = CloudErrorKind::Unavailable;
        self.failed(CloudError::own(
            operation,
            self.place(),
            kind,
            "no answer in time",
        ))
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StateError> {
        let S3Location { cloud, bucket, .. } = &self.location;
        let found = cloud.tagged_object(bucket, key).await;
        found.map_err(|error| self.failed(error))
    }

    async fn put(
        &self,
        key: &str,
        content: impl Into<Bytes>,
        precondition: Precondition<'_>,
    ) -> Result<Option<String>, StateError> {
        let S3Location { cloud, bucket, .. } = &self.location;
        let written = cloud
            .write_object_if(bucket, key, content.into(), precondition)
            .await;
        written.map_err(|error| self.failed(error))
    }

    pub(super) async fn lease(&self) -> Result<Option<Object>, StateError> {
        self.get(&self.lease_key()).await
    }

    pub(super) async fn put_lease(
        &self,
        content: Vec<u8>,
        precondition: Precondition<'_>,
    ) -> Result<Option<String>, StateError> {
        self.put(&self.lease_key(), content, precondition).await
    }

    pub(super) async fn delete_lease(&self, etag: &str) -> Result<bool, StateError> {
        let S3Location { cloud, bucket, .. } = &self.location;
        let deleted = cloud
            .delete_object_if(bucket, &self.lease_key(), etag)
            .await;
        deleted.map_err(|error| self.failed(error))
    }

    /// The state's bytes and entity tag; `None` if there is none.
    pub(super) async fn object(&self) -> Result<Option<Object>, StateError> {
        self.get(&self.location.key).await
    }

    /// What the state's object says; `None` if there is none.
    pub(super) async fn read(&self, owner: &Owner) -> Result<Option<Content>, StateError> {
        match self.object().await? {
            Some(object) => self.decode(owner, &object).await.map(Some),
            None => Ok(None),
        }
    }

    async fn decode(&self, owner: &Owner, object: &Object) -> Result<Content, StateError> {
        match file::decode(owner, &object.content) {
            Ok(content) => Ok(content),
            Err(error) => {
                let backup = self.newest_backup(owner, &object.content).await;
                Err(unreadable(error, owner, self.place(), || backup))
            }
        }
    }

    /// Writes what is there again, under the lock `lock_id`: whoever held the lock before can write no more. Where
    /// nothing is, a state begins. Answers what is there, with the entity tag of the claim.
    ///
    /// # Errors
    /// What is there cannot be read, others keep writing, or S3 cannot be asked.
    pub(super) async fn claim(
        &self,
        owner: &Owner,
        lock_id: &str,
    ) -> Result<(Content, String), StateError> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.object().await?;
            let (content, precondition) = match &found {
                None => (Content::State(State::fresh()), Precondition::Absent),
                Some(object) => {
                    let content = self.decode(owner, object).await?;
                    if file::lock_id(&object.content).as_deref() == Some(lock_id) {
                        return Ok((content, object.etag.clone())); // the answer was lost
                    }
                    (content, Precondition::Unchanged(&object.etag))
                }
            };
            let bytes = self.encode(owner, &content, lock_id)?;
            if let Some(etag) = self.put(&self.location.key, bytes, precondition).await? {
                return Ok((content, etag));
            }
        }
        Err(self.lost().await)
    }

    fn encode(
        &self,
        owner: &Owner,
        content: &Content,
        lock_id: &str,
    ) -> Result<Vec<u8>, StateError> {
        file::encode(owner, content, Some(lock_id)).map_err(|error| StateError::Damaged {
            place: self.place(),
            reason: error.to_string(),
            backup: None,
        })
    }

    /// Replaces what this lock wrote last, whose entity tag is `etag`, and answers the bytes written.
    ///
    /// # Errors
    /// Somebody else wrote since, or S3 cannot be asked.
    pub(super) async fn write(
        &self,
        owner: &Owner,
        content: &Content,
        lock_id: &str,
        etag: &mut String,
    ) -> Result<Vec<u8>, StateError> {
        let bytes = self.encode(owner, content, lock_id)?;
        for _ in 0..ATTEMPTS_MAX {
            let still = Precondition::Unchanged(etag);
            let key = &self.location.key;
            if let Some(written) = self.put(key, bytes.clone(), still).await? {
                *etag = written;
                return Ok(bytes);
            }
            match self.object().await? {
                // Only we write under this lock: the answer to this write, or to one before it, was lost.
                Some(object) if file::lock_id(&object.content).as_deref() == Some(lock_id) => {
                    *etag = object.etag;
                    if object.content == bytes {
                        return Ok(bytes);
                    }
                }
                _ => break,
            }
        }
        Err(self.lost().await)
    }

    /// The error of one who holds the lock no more.
    async fn lost(&self) -> StateError {
        let holder: Option<Holder> = match lease::read(self).await {
            Ok(Some((document, _))) => Some(document.holder),
            _ => None,
        };
        StateError::LockLost {
            place: self.place(),
            holder: holder.map(Box::new),
        }
    }

    /// Keeps `bytes`, a save, beside those of earlier commands.
    pub(super) async fn back_up(&self, bytes: Vec<u8>, kept: &Kept) -> Result<(), StateError> {
        let key = |kept: &Kept| format!("{}{}", self.backup_prefix(), kept.file_name());
        let S3Location { cloud, bucket, .. } = &self.location;
        // One of that name is of a state that was given up for an older one since.
        let (name, options) = (key(kept), PutOptions::default());
        let put = cloud.put_object(bucket, &name, bytes.into(), &options);
        put.await.map_err(|error| self.failed(error))?;
        let old = kept.old(&self.backups().await?, BACKUPS_KEPT);
        let keys: Vec<String> = old.iter().map(key).collect();
        let deleted = cloud.delete_objects(bucket, &keys).await;
        deleted.map_err(|error| self.failed(error))
    }

    async fn backups(&self) -> Result<Vec<Kept>, StateError> {
        let S3Location { cloud, bucket, .. } = &self.location;
        let prefix = self.backup_prefix();
        // A handful, unless somebody else keeps things there.
        let (objects, _) = cloud
            .list_first_objects(bucket, &prefix, 1)
            .await
            .map_err(|error| self.failed(error))?;
        let names = objects
            .iter()
            .filter_map(|object| object.key.strip_prefix(&prefix));
        Ok(names.filter_map(Kept::named).collect())
    }

    async fn newest_backup(&self, owner: &Owner, damaged: &[u8]) -> Option<Backup> {
        for kept in Kept::candidates(self.backups().await.ok()?, damaged) {
            let key = format!("{}{}", self.backup_prefix(), kept.file_name());
            if let Ok(Some(object)) = self.get(&key).await
                && file::decode(owner, &object.content).is_ok()
            {
                return Some(Backup {
                    place: format!("s3://{}/{key}", self.location.bucket),
                    serial: kept.serial,
                });
            }
        }
        None
    }
}

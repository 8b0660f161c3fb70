//! A place whose lock is held: what was found there, and the right to write there.

use tokio_util::sync::CancellationToken;

use super::StateError;
use super::file::{self, Content, Owner};
use super::folder::Folder;
use super::lease::Lease;
use super::lock::{Holder, Lock};
use super::s3::Remote;

/// A place whose lock is held. Dropping it lets go of a kernel's lock at once; a lease ends by [`Hold::release`], or
/// when it runs out.
#[derive(Debug)]
pub(super) struct Hold {
    owner: Owner,
    lock_id: String,
    place: Place,
    /// What was there when the lock was taken.
    pub(super) found: Option<Content>,
    /// Whose lock had run out and was taken.
    pub(super) taken_from: Option<Holder>,
}

#[derive(Debug)]
enum Place {
    Folder {
        folder: Folder,
        _lock: Lock,
    },
    S3 {
        remote: Remote,
        lease: Lease,
        etag: String,
    },
}

impl Hold {
    /// Locks the folder.
    ///
    /// # Errors
    /// Somebody holds the lock, it cannot be taken, or what is there cannot be read.
    pub(super) fn folder(
        owner: &Owner,
        folder: &Folder,
        holder: &Holder,
    ) -> Result<Self, StateError> {
        let lock = folder.lock(holder)?;
        Ok(Self {
            owner: owner.clone(),
            lock_id: holder.id.clone(),
            found: folder.read(owner)?,
            place: Place::Folder {
                folder: folder.clone(),
                _lock: lock,
            },
            taken_from: None,
        })
    }

    /// Takes the lease, and makes sure that whoever had it before cannot write any more. Where nothing is, a state
    /// begins.
    ///
    /// # Errors
    /// Somebody holds the lease, S3 cannot be asked, or what is there cannot be read.
    pub(super) async fn s3(
        owner: &Owner,
        remote: &Remote,
        holder: &Holder,
    ) -> Result<Self, StateError> {
        let (lease, taken_from) = Lease::take(remote, holder).await?;
        match remote.claim(owner, &holder.id).await {
            Ok((found, etag)) => Ok(Self {
                owner: owner.clone(),
                lock_id: holder.id.clone(),
                place: Place::S3 {
                    remote: remote.clone(),
                    lease,
                    etag,
                },
                found: Some(found),
                taken_from,
            }),
            Err(error) => {
                if let Err(error) = lease.release().await {
                    tracing::warn!(%error, "the lock of the state ends by itself");
                }
                Err(error)
            }
        }
    }

    /// Replaces what is there, and answers the bytes written.
    ///
    /// # Errors
    /// It cannot be written, or the lock was lost. What was there is there.
    pub(super) async fn write(&mut self, content: &Content) -> Result<Vec<u8>, StateError> {
        match &mut self.place {
            Place::Folder { folder, .. } => {
                let encoded = file::encode(&self.owner, content, None);
                let bytes = encoded.map_err(|error| StateError::Save {
                    path: folder.state_path(),
                    source: error.into(),
                })?;
                folder.write(&bytes)?;
                Ok(bytes)
            }
            Place::S3 { remote, etag, .. } => {
                remote
                    .write(&self.owner, content, &self.lock_id, etag)
                    .await
            }
        }
    }

    /// Cancelled once somebody else holds the lock, or may. A kernel's lock is not lost.
    pub(super) fn lost(&self) -> CancellationToken {
        match &self.place {
            Place::Folder { .. } => CancellationToken::new(),
            Place::S3 { lease, .. } => lease.lost(),
        }
    }

    /// Lets go of the lock.
    ///
    /// # Errors
    /// S3 cannot be asked: the lease ends when it has run out.
    pub(super) async fn release(self) -> Result<(), StateError> {
        match self.place {
            Place::Folder { .. } => Ok(()),
            Place::S3 { lease, .. } => lease.release().await,
        }
    }

    /// Lets go of the lock after something else has failed already.
    pub(super) async fn give_up(self) {
        if let Err(error) = self.release().await {
            tracing::warn!(%error, "the lock of the state ends by itself");
        }
    }
}

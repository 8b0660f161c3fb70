//! A state that is locked: what it is, and the right to change it.

use tokio_util::sync::CancellationToken;

use super::State;
use super::error::StateError;
use super::file::{self, Content};
use super::hold::Hold;
use super::kept::Kept;
use super::lock::Holder;
use super::store::StateStore;

/// A state that nobody else can save. [`LockedStore::release`] lets go of the lock; where it is only dropped, a lease in
/// S3 goes on until it has run out.
#[derive(Debug)]
pub struct LockedStore {
    store: StateStore,
    hold: Hold,
    state: State,
    /// The backup that this command has written.
    backup: Option<Kept>,
    saved: bool,
}

impl LockedStore {
    pub(super) fn new(store: StateStore, hold: Hold, state: State) -> Self {
        Self {
            store,
            hold,
            state,
            backup: None,
            saved: false,
        }
    }

    /// What is recorded. Before the first save of a deployment it is empty and has a lineage of its own.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whose lock had run out and was taken.
    pub fn taken_from(&self) -> Option<&Holder> {
        self.hold.taken_from.as_ref()
    }

    /// Cancelled once somebody else has taken the lock, or may have, because it could not be renewed in time. From then on
    /// nothing is to be changed.
    pub fn lost(&self) -> CancellationToken {
        self.hold.lost()
    }

    /// The error of one who lost the lock.
    pub fn lock_lost(&self) -> StateError {
        StateError::LockLost {
            place: self.store.place(),
            holder: None,
        }
    }

    /// Records `state`, whose serial becomes the next one.
    ///
    /// # Errors
    /// It cannot be written, or the lock was lost. What was recorded before stays recorded, and the serial stays as
    /// it was.
    pub async fn save(&mut self, state: &mut State) -> Result<(), StateError> {
        let next = State {
            serial: self.state.serial + 1,
            ..state.clone()
        };
        let serial = next.serial;
        self.record(next).await?;
        state.serial = serial;
        Ok(())
    }

    /// Records a state that comes from elsewhere, with its own serial if that is higher.
    ///
    /// # Errors
    /// It is of another deployment or not newer than what is recorded, and not forced; or as [`LockedStore::save`].
    pub async fn push(&mut self, given: State, force: bool) -> Result<(), StateError> {
        let recorded = &self.state;
        let place = self.store.place();
        let blank = recorded.serial == 0;
        if given == *recorded {
            return Ok(());
        }
        if !blank && !force {
            check_successor(place, recorded, &given)?;
        }
        let serial = given.serial.max(recorded.serial + 1);
        self.record(State { serial, ..given }).await
    }

    async fn record(&mut self, state: State) -> Result<(), StateError> {
        let bytes = self.hold.write(&Content::State(state.clone())).await?;
        let before = std::mem::replace(&mut self.state, state);
        // The state itself is safe by now, so none of this is a reason to stop an apply.
        if let Err(error) = self.back_up(&bytes, before).await {
            tracing::warn!(%error, place = self.store.place(), "the state could not be backed up");
        }
        self.saved = true;
        Ok(())
    }

    /// A command saves many times. In a folder its last save is kept beside those of earlier commands; in S3, where
    /// every request counts, what it found.
    async fn back_up(&mut self, bytes: &[u8], before: State) -> Result<(), StateError> {
        let store = &self.store;
        match &store.remote {
            None => {
                let kept = Kept::new(self.state.serial, &self.state.lineage);
                let earlier = self.backup.replace(kept.clone());
                let written = store.folder.back_up(bytes, &kept, earlier);
                written.map_err(|source| StateError::Save {
                    path: store.folder.backup_path(&kept),
                    source,
                })
            }
            Some(remote) if !self.saved => {
                // The one does not depend on the other: a checkout may be read-only.
                let signpost = store.leave_signpost(&self.state.lineage);
                if before.serial > 0 {
                    let kept = Kept::new(before.serial, &before.lineage);
                    let content = Content::State(before);
                    let bytes = file::encode(&store.owner, &content, None).unwrap_or_default();
                    remote.back_up(bytes, &kept).await?;
                }
                signpost
            }
            Some(_) => Ok(()),
        }
    }

    /// Lets go of the lock.
    ///
    /// # Errors
    /// S3 cannot be asked: the lock ends by itself when it has run out.
    pub async fn release(self) -> Result<(), StateError> {
        self.hold.release().await
    }
}

/// Whether `given` may take the place of `found`, which is at `place`.
pub(super) fn check_successor(
    place: String,
    found: &State,
    given: &State,
) -> Result<(), StateError> {
    if found.lineage != given.lineage {
        return Err(StateError::OtherLineage {
            place,
            found: found.lineage.to_string(),
            given: given.lineage.to_string(),
        });
    }
    if found.serial > given.serial || (found.serial == given.serial && found != given) {
        return Err(StateError::NotNewer {
            place,
            found: found.serial,
            given: given.serial,
        });
    }
    Ok(())
}

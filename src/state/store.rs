//! The state of one project and stage, wherever it is kept: read without a lock, changed by one process at a time.
//!
//! There are two places, a folder (`folder.rs`) and an object of S3 (`s3.rs`). A state is in one of them; the other one
//! has nothing, or a signpost. Whoever finds otherwise is told, and nothing is done.

use super::error::{Backup, StateError};
use super::file::{Content, Owner, Unreadable};
use super::folder::Folder;
use super::hold::Hold;
use super::lease::LeaseTerms;
use super::lock::Holder;
use super::locked::LockedStore;
use super::s3::{Remote, S3Location};
use super::{Lineage, State, file, lease};
use crate::env;
use crate::names::{ProjectName, StageName};

use std::path::Path;

/// How many commands can be gone back.
pub(super) const BACKUPS_KEPT: usize = 5;

/// Where the state of one project and stage is kept.
#[derive(Debug, Clone)]
pub struct StateStore {
    pub(super) owner: Owner,
    /// The place, unless there is a remote one. Then a signpost to that.
    pub(super) folder: Folder,
    pub(super) remote: Option<Remote>,
}

impl StateStore {
    /// The state of `project` and `stage`, below the folder of the project's configuration. Touches nothing.
    pub fn new(directory: &Path, project: &ProjectName, stage: Option<&StageName>) -> Self {
        Self {
            owner: Owner {
                project: project.clone(),
                stage: stage.cloned(),
            },
            folder: Folder::new(directory, name_of_stage(stage)),
            remote: None,
        }
    }

    /// The same state, kept in S3. Asks nothing.
    #[must_use]
    pub fn in_s3(self, location: S3Location, terms: LeaseTerms) -> Self {
        Self {
            remote: Some(Remote { location, terms }),
            ..self
        }
    }

    /// The key of a state in S3 whose configuration names none.
    pub fn default_key(project: &ProjectName, stage: Option<&StageName>) -> String {
        format!("rmx/{project}/{}.json", name_of_stage(stage))
    }

    /// Where it is kept: a file's path, or `s3://BUCKET/KEY`.
    pub fn place(&self) -> String {
        match &self.remote {
            None => self.folder.place(),
            Some(remote) => remote.place(),
        }
    }

    /// What is recorded; `None` before the first apply. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// It cannot be read, is damaged, was changed by hand, is newer than this rmx, belongs to another project or
    /// stage, or is not here but elsewhere.
    pub async fn load(&self) -> Result<Option<State>, StateError> {
        let Some(remote) = &self.remote else {
            return recorded(self.folder.read(&self.owner)?, &self.place());
        };
        let found = recorded(remote.read(&self.owner).await?, &self.place())?;
        let blank = found.as_ref().is_none_or(|state| state.serial == 0);
        match self.folder.read(&self.owner)? {
            Some(Content::State(_)) if blank => Err(self.not_migrated()),
            Some(Content::State(_)) => Err(StateError::TwoStates {
                place: self.place(),
                other: self.folder.place(),
            }),
            Some(Content::Moved { to, .. }) if blank && to != self.place() => {
                Err(StateError::Moved {
                    place: self.place(),
                    to,
                })
            }
            Some(Content::Moved { left: Some(_), .. }) if blank => Err(self.not_migrated()),
            Some(Content::Moved { to, left: None }) if blank => Err(StateError::Gone {
                place: to,
                signpost: self.folder.place(),
            }),
            Some(Content::Moved { .. }) | None => Ok(found),
        }
    }

    fn not_migrated(&self) -> StateError {
        StateError::NotMigrated {
            place: self.place(),
            left_in: self.folder.place(),
        }
    }

    /// Takes the lock and reads what is recorded. Nobody else can save until the lock is released.
    ///
    /// # Errors
    /// Somebody else holds the lock, it cannot be taken, or the state cannot be read; see [`StateStore::load`].
    pub async fn lock(&self, holder: &Holder) -> Result<LockedStore, StateError> {
        // Before anything is written.
        self.load().await?;
        let hold = self.hold(holder).await?;
        match recorded(hold.found.clone(), &self.place()) {
            Ok(state) => {
                let state = state.unwrap_or_else(State::fresh);
                Ok(LockedStore::new(self.clone(), hold, state))
            }
            Err(error) => {
                hold.give_up().await;
                Err(error)
            }
        }
    }

    /// What whoever wants the lock now is told; `None` if nobody has it. Takes none.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub async fn held(&self) -> Result<Option<StateError>, StateError> {
        let Some(remote) = &self.remote else {
            return self.folder.held();
        };
        let lease = lease::read(remote).await?.map(|(document, _)| document);
        let lease = lease.filter(|document| !document.has_expired(env::now()));
        Ok(lease.map(|document| document.locked(remote)))
    }

    /// Takes the lock, whatever is there.
    pub(super) async fn hold(&self, holder: &Holder) -> Result<Hold, StateError> {
        match &self.remote {
            None => Hold::folder(&self.owner, &self.folder, holder),
            Some(remote) => Hold::s3(&self.owner, remote, holder).await,
        }
    }

    /// Whether the lock `id` could be removed.
    ///
    /// # Errors
    /// There is no lock, it is another one, or it is a kernel's: that ends with its process and not before.
    pub async fn check_lock(&self, id: &str) -> Result<(), StateError> {
        let place = self.place();
        let holder = match &self.remote {
            None => match self.folder.held()? {
                Some(StateError::Locked { holder, .. }) => holder,
                _ => return Err(StateError::NotLocked { place }),
            },
            Some(remote) => match lease::read(remote).await? {
                Some((document, _)) => Some(Box::new(document.holder)),
                None => return Err(StateError::NotLocked { place }),
            },
        };
        match holder {
            Some(holder) if holder.id == id => match self.remote {
                None => Err(StateError::HeldByProcess { place, holder }),
                Some(_) => Ok(()),
            },
            holder => Err(StateError::OtherLock {
                place,
                given: id.to_owned(),
                holder,
            }),
        }
    }

    /// Removes the lock `id` although its holder has not let go of it, and answers who that was. It can save nothing
    /// any more once somebody else has taken the lock.
    ///
    /// # Errors
    /// As [`StateStore::check_lock`].
    pub async fn unlock(&self, id: &str) -> Result<Holder, StateError> {
        self.check_lock(id).await?;
        match &self.remote {
            Some(remote) => lease::remove(remote, id).await,
            None => Err(StateError::NotLocked {
                place: self.place(),
            }),
        }
    }

    /// The state in the bytes of a file, which errors call `name`.
    ///
    /// # Errors
    /// It is damaged, was changed, is newer than this rmx, or belongs to another project or stage.
    pub fn parse(&self, bytes: &[u8], name: &str) -> Result<State, StateError> {
        let content = file::decode(&self.owner, bytes)
            .map_err(|error| unreadable(error, &self.owner, name.to_owned(), || None))?;
        let state = recorded(Some(content), name)?;
        state.ok_or_else(|| StateError::Nothing {
            place: name.to_owned(),
        })
    }

    /// What is there, byte by byte; `None` if nothing is. For looking at, not for work.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn bytes(&self) -> Result<Option<Vec<u8>>, StateError> {
        match &self.remote {
            None => self.folder.bytes(),
            Some(remote) => Ok(remote.object().await?.map(|object| object.content.to_vec())),
        }
    }

    /// Where the signpost beside the configuration points to, if there is one.
    ///
    /// # Errors
    /// The file there cannot be read.
    pub fn moved_to(&self) -> Result<Option<String>, StateError> {
        Ok(match self.folder.read(&self.owner)? {
            Some(Content::Moved { to, .. }) => Some(to),
            Some(Content::State(_)) | None => None,
        })
    }

    /// Says beside the configuration where the state is kept, so that nobody begins another one by taking `[state]`
    /// out of it.
    pub(super) fn leave_signpost(&self, lineage: &Lineage) -> Result<(), StateError> {
        let signpost = Content::Moved {
            to: self.place(),
            left: None,
        };
        match self.folder.read(&self.owner) {
            Ok(Some(found)) if found == signpost => return Ok(()),
            // A state is nothing to be replaced by a signpost; whoever comes next is told that there are two.
            Ok(Some(Content::State(_))) | Err(_) => return Ok(()),
            // Nor is one that still holds a state, unless that has arrived.
            Ok(Some(Content::Moved {
                left: Some(left), ..
            })) if left.lineage != *lineage => return Ok(()),
            Ok(_) => {}
        }
        let bytes =
            file::encode(&self.owner, &signpost, None).map_err(|error| StateError::Save {
                path: self.folder.state_path(),
                source: error.into(),
            })?;
        self.folder.write(&bytes)
    }
}

/// The state's name among those of its project: its stage, where it has one.
pub fn name_of_stage(stage: Option<&StageName>) -> &str {
    match stage.map(StageName::as_str) {
        None => "default",
        // A stage may be called so; no stage's name has an underscore.
        Some("default") => "default_stage",
        Some(name) => name,
    }
}

/// The state in what was read, unless that is a signpost.
fn recorded(content: Option<Content>, place: &str) -> Result<Option<State>, StateError> {
    match content {
        None => Ok(None),
        Some(Content::State(state)) => Ok(Some(state)),
        Some(Content::Moved { to, .. }) => Err(StateError::Moved {
            place: place.to_owned(),
            to,
        }),
    }
}

/// The error of bytes at `place` that cannot be used.
pub(super) fn unreadable(
    error: Unreadable,
    owner: &Owner,
    place: String,
    backup: impl FnOnce() -> Option<Backup>,
) -> StateError {
    match error {
        Unreadable::Damaged(reason) => StateError::Damaged {
            place,
            reason,
            backup: backup(),
        },
        Unreadable::Edited => StateError::Edited {
            place,
            backup: backup(),
        },
        Unreadable::Newer { format, written_by } => StateError::Newer {
            place,
            format,
            written_by,
        },
        Unreadable::OtherProject(found) => StateError::OtherProject {
            place,
            found: found.to_string(),
            wanted: owner.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::state::kept::Kept;
    use crate::state::tests::example;

    fn holder(command: &str) -> Holder {
        Holder {
            id: "a lock".to_owned(),
            who: "ada".to_owned(),
            host: "engine".to_owned(),
            pid: 1843,
            since: "2026-11-23T08:00:00Z".to_owned(),
            command: command.to_owned(),
            ci_job: None,
        }
    }

    fn store(folder: &tempfile::TempDir, stage: Option<&str>) -> StateStore {
        let stage = stage.map(|stage| stage.parse().unwrap());
        StateStore::new(folder.path(), &"hello".parse().unwrap(), stage.as_ref())
    }

    /// A command that saves three times.
    async fn command(store: &StateStore) -> State {
        let mut locked = store.lock(&holder("rmx apply")).await.unwrap();
        let mut state = locked.state().clone();
        state.records = example().records;
        for _ in 0..3 {
            locked.save(&mut state).await.unwrap();
        }
        state
    }

    #[tokio::test]
    async fn saves_are_numbered_private_and_leave_one_backup_a_command() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, None);
        assert!(store.load().await.unwrap().is_none());
        assert!(
            !folder.path().join(".rmx").exists(),
            "reading writes nothing"
        );

        let first = command(&store).await;
        assert_eq!(first.serial, 3);
        assert_eq!(store.load().await.unwrap(), Some(first.clone()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.folder.state_path()), 0o600);
        assert_eq!(mode(&folder.path().join(".rmx/state")), 0o700);

        for _ in 0..6 {
            assert_eq!(command(&store).await.lineage, first.lineage);
        }
        let kept = [9, 12, 15, 18, 21].map(|serial| Kept::new(serial, &first.lineage));
        assert_eq!(store.folder.backups(), kept);
        assert_eq!(mode(&store.folder.backup_path(&kept[4])), 0o600);
    }

    #[tokio::test]
    async fn one_holds_the_lock_and_others_are_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (store(&folder, None), store(&folder, Some("prod")));
        let locked = store.lock(&holder("rmx apply")).await.unwrap();
        let error = store
            .lock(&holder("rmx destroy"))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with(
                "default.json is locked by `rmx apply` of ada on engine (process 1843) \
                 since 2026-11-23T08:00:00Z, lock a lock"
            ),
            "{error}"
        );
        other
            .lock(&holder("rmx apply"))
            .await
            .expect("another stage has another lock");
        store.load().await.expect("reading needs no lock");
        drop(locked);
        store.lock(&holder("rmx destroy")).await.unwrap();
    }

    #[tokio::test]
    async fn a_damaged_state_names_the_newest_whole_backup() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, None);
        command(&store).await;
        let last = command(&store).await;
        let ninth = store.folder.backup_path(&Kept::new(9, &last.lineage));
        fs::write(&ninth, "{").unwrap(); // cut off, like the state itself
        // The backups of a stage whose name begins with ours are not ours.
        fs::write(ninth.with_file_name("default-2-99-aaaaaaaa.json"), "{").unwrap();

        let whole = fs::read(store.folder.state_path()).unwrap();
        fs::write(store.folder.state_path(), &whole[..whole.len() / 2]).unwrap();
        let error = store.lock(&holder("rmx apply")).await.unwrap_err();
        let StateError::Damaged {
            place,
            backup: Some(backup),
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((place, backup.serial), (store.place(), 6));
        fs::copy(backup.place, store.folder.state_path()).unwrap();
        assert_eq!(store.load().await.unwrap(), Some(last));
    }

    #[tokio::test]
    async fn what_cannot_be_saved_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, None);
        let before = command(&store).await;
        let mut locked = store.lock(&holder("rmx apply")).await.unwrap();
        let mut state = before.clone();
        // A folder where the file should go: no user, root included, can rename a file onto it.
        let kept = folder.path().join("kept");
        fs::rename(store.folder.state_path(), &kept).unwrap();
        fs::create_dir(store.folder.state_path()).unwrap();
        let error = locked.save(&mut state).await.unwrap_err();
        assert!(matches!(error, StateError::Save { .. }), "{error}");
        assert_eq!((&state, locked.state()), (&before, &before));
        let left: Vec<_> = fs::read_dir(folder.path().join(".rmx/state"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(".default"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

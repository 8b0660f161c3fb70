//! The state's file: found, locked, read, written whole.
//!
//! ```text
//! DIRECTORY/.rmx/state/default.json             the state (STAGE.json with a stage)
//! DIRECTORY/.rmx/state/default.lock             who works on it
//! DIRECTORY/.rmx/state/backups/default-12.json  its last saves, one for each of the last commands that changed it
//! ```
//!
//! Reading needs no lock: a save replaces the file in one step, so a reader sees one save or the next.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::State;
use super::error::{Backup, StateError};
use super::file::{self, Owner, Unreadable};
use super::lock::{Holder, Lock};
use crate::names::{ProjectName, StageName};

/// How many commands can be gone back.
const BACKUPS_KEPT: usize = 5;

/// Where the state of one project and stage is kept.
#[derive(Debug, Clone)]
pub struct StateStore {
    owner: Owner,
    folder: PathBuf,
    name: String,
}

impl StateStore {
    /// The state of `project` and `stage`, below the folder of the project's configuration. Touches nothing.
    pub fn new(directory: &Path, project: &ProjectName, stage: Option<&StageName>) -> Self {
        let name = match stage.map(StageName::as_str) {
            None => "default",
            // A stage may be called so; no stage's name has an underscore.
            Some("default") => "default_stage",
            Some(name) => name,
        };
        Self {
            owner: Owner {
                project: project.clone(),
                stage: stage.cloned(),
            },
            folder: directory.join(".rmx").join("state"),
            name: name.to_owned(),
        }
    }

    /// The state's file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.name))
    }

    /// What is recorded; `None` before the first apply. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, was changed by hand, is newer than this rmx, or belongs to another
    /// project or stage.
    pub fn load(&self) -> Result<Option<State>, StateError> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Read { path, source }),
        };
        file::decode(&self.owner, &bytes)
            .map(Some)
            .map_err(|error| match error {
                Unreadable::Damaged(reason) => StateError::Damaged {
                    path,
                    reason,
                    backup: self.newest_backup(),
                },
                Unreadable::Edited => StateError::Edited {
                    path,
                    backup: self.newest_backup(),
                },
                Unreadable::Newer { format, written_by } => StateError::Newer {
                    path,
                    format,
                    written_by,
                },
                Unreadable::OtherProject(found) => StateError::OtherProject {
                    path,
                    found: found.to_string(),
                    wanted: self.owner.to_string(),
                },
            })
    }

    /// Takes the lock and reads what is recorded. Nobody else can save until the result is dropped.
    ///
    /// # Errors
    /// Somebody else holds the lock, it cannot be taken, or the state cannot be read; see [`StateStore::load`].
    pub fn lock(&self, holder: &Holder) -> Result<LockedStore, StateError> {
        let path = self.folder.join(format!("{}.lock", self.name));
        make_folder(&self.folder).map_err(|source| StateError::Lock {
            path: path.clone(),
            source,
        })?;
        let lock = Lock::take(&path, &self.path(), holder)?;
        let state = self.load()?.unwrap_or_else(State::fresh);
        Ok(LockedStore {
            store: self.clone(),
            _lock: lock,
            state,
            backup: None,
        })
    }

    fn backup_folder(&self) -> PathBuf {
        self.folder.join("backups")
    }

    fn backup_path(&self, serial: u64) -> PathBuf {
        self.backup_folder()
            .join(format!("{}-{serial}.json", self.name))
    }

    /// Every backup, oldest first.
    fn backups(&self) -> Vec<Backup> {
        let prefix = format!("{}-", self.name);
        let entries = fs::read_dir(self.backup_folder()).into_iter().flatten();
        let mut backups: Vec<Backup> = entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                // `prod-2` is a stage of its own: what is left must be the serial alone.
                let serial = name
                    .strip_prefix(&prefix)?
                    .strip_suffix(".json")?
                    .parse()
                    .ok()?;
                Some(Backup {
                    path: self.backup_path(serial),
                    serial,
                })
            })
            .collect();
        backups.sort_by_key(|backup| backup.serial);
        backups
    }

    fn newest_backup(&self) -> Option<Backup> {
        self.backups().into_iter().rev().find(|backup| {
            fs::read(&backup.path).is_ok_and(|bytes| file::decode(&self.owner, &bytes).is_ok())
        })
    }
}

/// A state that nobody else can save. Dropping it lets go of the lock.
#[derive(Debug)]
pub struct LockedStore {
    store: StateStore,
    _lock: Lock,
    state: State,
    /// The backup that this command has written.
    backup: Option<Backup>,
}

impl LockedStore {
    /// What is recorded. Before the first save of a deployment it is empty and has a lineage of its own.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Records `state`, whose serial becomes the next one.
    ///
    /// # Errors
    /// The file cannot be written. What was recorded before stays recorded, and the serial stays as it was.
    pub fn save(&mut self, state: &mut State) -> Result<(), StateError> {
        let path = self.store.path();
        let next = State {
            serial: self.state.serial + 1,
            ..state.clone()
        };
        let failed = |source| StateError::Save {
            path: path.clone(),
            source,
        };
        let bytes = file::encode(&self.store.owner, &next)
            .map_err(|error| failed(io::Error::from(error)))?;
        write_whole(&path, &bytes).map_err(failed)?;
        state.serial = next.serial;
        self.state = next;
        // The state itself is safe by now, so this is no reason to stop an apply.
        if let Err(error) = self.back_up(&bytes) {
            tracing::warn!(%error, path = %path.display(), "the state could not be backed up");
        }
        Ok(())
    }

    /// A command saves many times; only its last save is kept beside those of earlier commands.
    fn back_up(&mut self, bytes: &[u8]) -> io::Result<()> {
        let serial = self.state.serial;
        let backup = Backup {
            path: self.store.backup_path(serial),
            serial,
        };
        make_folder(&self.store.backup_folder())?;
        write_whole(&backup.path, bytes)?;
        if let Some(earlier) = self.backup.replace(backup) {
            fs::remove_file(earlier.path)?;
        }
        let backups = self.store.backups();
        for old in &backups[..backups.len().saturating_sub(BACKUPS_KEPT)] {
            fs::remove_file(&old.path)?;
        }
        Ok(())
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces the file in one step, and returns when that will outlast a power failure.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".saving-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::example;

    fn holder(command: &str) -> Holder {
        Holder {
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
    fn command(store: &StateStore) -> State {
        let mut locked = store.lock(&holder("rmx apply")).unwrap();
        let mut state = locked.state().clone();
        state.records = example().records;
        for _ in 0..3 {
            locked.save(&mut state).unwrap();
        }
        state
    }

    #[test]
    fn saves_are_numbered_private_and_leave_one_backup_a_command() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, None);
        assert!(store.load().unwrap().is_none());
        assert!(
            !folder.path().join(".rmx").exists(),
            "reading writes nothing"
        );

        let first = command(&store);
        assert_eq!(first.serial, 3);
        assert_eq!(store.load().unwrap(), Some(first.clone()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.path()), 0o600);
        assert_eq!(mode(&store.folder), 0o700);

        for _ in 0..6 {
            assert_eq!(command(&store).lineage, first.lineage);
        }
        let serials: Vec<u64> = store.backups().iter().map(|backup| backup.serial).collect();
        assert_eq!(serials, [9, 12, 15, 18, 21]);
        assert_eq!(mode(&store.backup_path(21)), 0o600);
    }

    #[test]
    fn one_holds_the_lock_and_others_are_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (store(&folder, None), store(&folder, Some("prod")));
        let locked = store.lock(&holder("rmx apply")).unwrap();
        let error = store.lock(&holder("rmx destroy")).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "default.json is locked by `rmx apply` of ada on engine (process 1843) \
                 since 2026-11-23T08:00:00Z"
            ),
            "{error}"
        );
        other
            .lock(&holder("rmx apply"))
            .expect("another stage has another lock");
        store.load().expect("reading needs no lock");
        drop(locked);
        store.lock(&holder("rmx destroy")).unwrap();
    }

    #[test]
    fn a_damaged_state_names_the_newest_whole_backup() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, None);
        command(&store);
        let last = command(&store);
        fs::write(store.backup_path(9), "{").unwrap(); // cut off, like the state itself
        // The backups of a stage whose name begins with ours are not ours.
        fs::write(store.backup_folder().join("default-2-99.json"), "{").unwrap();

        let whole = fs::read(store.path()).unwrap();
        fs::write(store.path(), &whole[..whole.len() / 2]).unwrap();
        let error = store.lock(&holder("rmx apply")).unwrap_err();
        let StateError::Damaged {
            path,
            backup: Some(backup),
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((path, backup.serial), (store.path(), 6));
        fs::copy(backup.path, store.path()).unwrap();
        assert_eq!(store.load().unwrap(), Some(last));
    }

    #[test]
    fn what_cannot_be_saved_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, None);
        let before = command(&store);
        let mut locked = store.lock(&holder("rmx apply")).unwrap();
        let mut state = before.clone();
        // A folder where the file should go: no user, root included, can rename a file onto it.
        let kept = folder.path().join("kept");
        fs::rename(store.path(), &kept).unwrap();
        fs::create_dir(store.path()).unwrap();
        let error = locked.save(&mut state).unwrap_err();
        assert!(matches!(error, StateError::Save { .. }), "{error}");
        assert_eq!((&state, locked.state()), (&before, &before));
        let left: Vec<_> = fs::read_dir(&store.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(".saving-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

//! The state in a folder: found, read, written whole, backed up.
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

use super::error::{Backup, StateError};
use super::file::{self, Content, Owner};
use super::kept::Kept;
use super::lock::{Holder, Lock};
use super::store::{BACKUPS_KEPT, unreadable};

/// Where a state is kept on a disk.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
    name: String,
}

impl Folder {
    /// The state `name` below the folder of a project's configuration. Touches nothing.
    pub(super) fn new(directory: &Path, name: &str) -> Self {
        Self {
            path: directory.join(".rmx").join("state"),
            name: name.to_owned(),
        }
    }

    /// The state's file.
    pub(super) fn state_path(&self) -> PathBuf {
        self.path.join(format!("{}.json", self.name))
    }

    /// The state's file, as errors name it.
    pub(super) fn place(&self) -> String {
        self.state_path().display().to_string()
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join(format!("{}.lock", self.name))
    }

    /// The file's bytes; `None` if there is none.
    pub(super) fn bytes(&self) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.state_path();
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Read { path, source }),
        }
    }

    /// What the file says; `None` if there is none.
    pub(super) fn read(&self, owner: &Owner) -> Result<Option<Content>, StateError> {
        let Some(bytes) = self.bytes()? else {
            return Ok(None);
        };
        file::decode(owner, &bytes).map(Some).map_err(|error| {
            unreadable(error, owner, self.place(), || {
                self.newest_backup(owner, &bytes)
            })
        })
    }

    pub(super) fn lock(&self, holder: &Holder) -> Result<Lock, StateError> {
        let path = self.lock_path();
        make_folder(&self.path).map_err(|source| StateError::Lock {
            path: path.clone(),
            source,
        })?;
        let lock = Lock::take(&path, &self.state_path(), holder)?;
        self.sweep();
        Ok(lock)
    }

    /// Removes what killed saves have left. Under the lock nobody else's is there.
    fn sweep(&self) {
        let prefix = self.unfinished_prefix();
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix)
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!(%error, "an unfinished save could not be removed");
            }
        }
    }

    /// How the names of unfinished saves begin. No state's name has a dot.
    fn unfinished_prefix(&self) -> String {
        format!(".{}.json.", self.name)
    }

    /// Replaces a file in one step, and returns when that will outlast a power failure.
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(&self.unfinished_prefix())
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(&self.path)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(path.parent().unwrap_or(&self.path))?.sync_all()
    }

    /// The error that whoever wants the lock now would meet.
    pub(super) fn held(&self) -> Result<Option<StateError>, StateError> {
        Lock::holder(&self.lock_path(), &self.state_path())
    }

    /// Replaces the file in one step.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.state_path();
        let written = make_folder(&self.path).and_then(|()| self.write_whole(&path, bytes));
        written.map_err(|source| StateError::Save { path, source })
    }

    /// Keeps `bytes`, a save, beside the saves of earlier commands and instead of `earlier`, one of the same command.
    pub(super) fn back_up(
        &self,
        bytes: &[u8],
        kept: &Kept,
        earlier: Option<Kept>,
    ) -> io::Result<()> {
        make_folder(&self.backup_folder())?;
        self.write_whole(&self.backup_path(kept), bytes)?;
        if let Some(earlier) = earlier.filter(|earlier| earlier != kept) {
            fs::remove_file(self.backup_path(&earlier))?;
        }
        for old in kept.old(&self.backups(), BACKUPS_KEPT) {
            fs::remove_file(self.backup_path(&old))?;
        }
        Ok(())
    }

    fn backup_folder(&self) -> PathBuf {
        self.path.join("backups")
    }

    pub(super) fn backup_path(&self, kept: &Kept) -> PathBuf {
        let name = format!("{}-{}", self.name, kept.file_name());
        self.backup_folder().join(name)
    }

    /// All backups, oldest first.
    pub(super) fn backups(&self) -> Vec<Kept> {
        let prefix = format!("{}-", self.name);
        let entries = fs::read_dir(self.backup_folder()).into_iter().flatten();
        let mut all: Vec<Kept> = entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                // `prod-2` is a stage of its own.
                Kept::named(name.strip_prefix(&prefix)?)
            })
            .collect();
        all.sort_unstable();
        all
    }

    fn newest_backup(&self, owner: &Owner, damaged: &[u8]) -> Option<Backup> {
        let mut all = Kept::candidates(self.backups(), damaged).into_iter();
        let kept = all.find(|kept| {
            fs::read(self.backup_path(kept)).is_ok_and(|bytes| file::decode(owner, &bytes).is_ok())
        })?;
        Some(Backup {
            place: self.backup_path(&kept).display().to_string(),
            serial: kept.serial,
        })
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

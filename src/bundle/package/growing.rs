//! Folders that something grows in until it is whole. Who is killed leaves one behind; who comes next takes it away.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::PackageError;

/// Somebody who sweeps may be quicker than whoever has just made a folder, but not so often.
const ATTEMPTS_MAX: usize = 10;

/// A folder of its own, removed at the end unless it becomes another. The kernel's lock on it tells others that its maker lives.
#[derive(Debug)]
pub(super) struct Growing {
    folder: TempDir,
    _held: File,
}

impl Growing {
    /// A new folder in `parent` whose name begins with `prefix`, which must be rmx's own: others of that name whose makers have died
    /// are removed.
    ///
    /// # Errors
    /// `parent` cannot be written to.
    pub(super) fn new(parent: &Path, prefix: &str) -> Result<Self, PackageError> {
        sweep(parent, prefix);
        for _ in 0..ATTEMPTS_MAX {
            let folder = tempfile::Builder::new()
                .prefix(prefix)
                .tempdir_in(parent)
                .map_err(PackageError::writing(parent))?;
            let held = File::open(folder.path()).map_err(PackageError::reading(folder.path()));
            match held {
                Ok(held) if !is_taken(&held) && folder.path().exists() => {
                    return Ok(Self {
                        folder,
                        _held: held,
                    });
                }
                Ok(_) => {}
                Err(_) if !folder.path().exists() => {}
                Err(error) => return Err(error),
            }
        }
        let message = io::Error::other("others keep removing what was just made there");
        Err(PackageError::writing(parent)(message))
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts it at `target`, where nothing is.
    ///
    /// # Errors
    /// It cannot be moved there.
    pub(super) fn become_at(self, target: &Path) -> Result<(), PackageError> {
        fs::rename(self.path(), target).map_err(PackageError::writing(target))?;
        let _moved: PathBuf = self.folder.keep();
        Ok(())
    }
}

/// Whether somebody else holds it. File systems without locks hold nothing, and are never swept.
fn is_taken(folder: &File) -> bool {
    matches!(folder.try_lock(), Err(TryLockError::WouldBlock))
}

fn sweep(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(prefix);
        let Some(folder) = ours.then(|| File::open(entry.path()).ok()).flatten() else {
            continue;
        };
        if folder.try_lock().is_ok() {
            // What cannot be removed now is tried again next time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_behind_is_swept_and_what_is_held_stays() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join(".rmx-left");
        fs::create_dir_all(left.join("deep")).unwrap();
        fs::create_dir(parent.path().join("other")).unwrap();
        let one = Growing::new(parent.path(), ".rmx-").unwrap();
        assert!(!left.exists() && parent.path().join("other").exists());
        let two = Growing::new(parent.path(), ".rmx-").unwrap();
        assert!(one.path().exists() && two.path().exists());
        fs::write(two.path().join("a"), "a").unwrap();
        two.become_at(&parent.path().join("whole")).unwrap();
        drop(one);
        let mut names: Vec<_> = fs::read_dir(parent.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["other", "whole"]);
    }
}

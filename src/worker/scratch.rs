//! The folder for everything temporary of this process.
//!
//! Lambda starts a worker that crashed anew on the same disk, whose room is small. What the crashed one left there goes
//! when the next one starts: each folder is locked by its process for as long as that lives, and the kernel lets go of the
//! lock however it ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// How folders of workers are named; random letters follow.
const PREFIX: &str = "rmx-worker-";
/// Another worker may sweep a folder away between its making and its locking.
const TRIES_MAX: u32 = 10;

/// See the module's documentation. The folder goes with this value.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// A new folder in the folder `parent`, from which those of workers that are no more are removed.
    ///
    /// # Errors
    /// The disk is full, or `parent` cannot be written to.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        for _ in 0..TRIES_MAX {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            if let Some(lock) = locked(folder.path())?
                && folder.path().is_dir()
            {
                return Ok(Self {
                    folder,
                    _lock: lock,
                });
            }
        }
        Err(io::Error::other("other workers remove it again and again"))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

/// The lock on a folder; nothing if a living process has it, or the folder is gone.
fn locked(folder: &Path) -> io::Result<Option<File>> {
    let lock = match File::open(folder) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // While it is locked here, nobody else takes it for their own.
        if let Ok(Some(_lock)) = locked(&entry.path())
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(
                "removing what an earlier worker left in {}: {error}",
                entry.path().display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crashed_worker_left_is_removed_and_what_a_living_one_has_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        fs::create_dir_all(at("rmx-worker-gone/rmx-chunk-1")).unwrap();
        fs::write(at("rmx-worker-gone/rmx-chunk-1/segment"), "left").unwrap();
        fs::write(at("rmx-ffmpeg-0badcafe-7"), "an unpacked program").unwrap();
        fs::create_dir(at("somebody else's")).unwrap();
        let first = Scratch::new(parent.path()).unwrap();
        fs::write(first.path().join("segment"), "needed").unwrap();
        let second = Scratch::new(parent.path()).unwrap();
        assert!(!at("rmx-worker-gone").exists());
        assert!(at("rmx-ffmpeg-0badcafe-7").exists() && at("somebody else's").exists());
        assert!(first.path().join("segment").exists());
        let second_path = second.path();
        drop((first, second));
        assert!(!second_path.exists(), "and in good order it goes at once");
    }

    #[test]
    fn workers_that_start_at_once_leave_each_other_alone() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let start = || {
                let scratch = Scratch::new(parent.path()).unwrap();
                fs::write(scratch.path().join("segment"), "needed").unwrap();
                scratch
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            let started: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
            for scratch in &started {
                assert!(scratch.path().join("segment").exists());
            }
        });
    }
}

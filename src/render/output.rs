//! The output file: found to be writable before any work is done, there under its name only when it is whole.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How often the unfinished file is opened again because whoever held it has just let go of it.
const CLAIM_ATTEMPTS_MAX: u32 = 5;

/// The file is written under a name with `.part` at its end and renamed at the end. Dropped before that, it is removed.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    part: PathBuf,
    /// Locked: of two renders into one file, one would mix its video into the other's. The kernel lets go of it when
    /// the process dies, so what a killed render has left is simply written over.
    _claim: File,
    committed: bool,
}

/// The output cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It exists and must not be replaced.
    #[error("`{}` exists", .0.display())]
    Exists(PathBuf),
    /// It is a folder.
    #[error("`{}` is a folder", .0.display())]
    Folder(PathBuf),
    /// It is a device, a pipe or a socket: renaming a file to its name would put an end to it.
    #[error("`{}` is not a file", .0.display())]
    Special(PathBuf),
    /// Another render is writing it.
    #[error("another render is writing `{}`", .0.display())]
    Busy(PathBuf),
    /// The system refuses.
    #[error("`{}` cannot be written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl OutputFile {
    /// Prepares to write `path`, making folders as needed.
    ///
    /// # Errors
    /// It cannot be written, somebody else is writing it, or it exists and `overwrite` is not set.
    pub fn create(path: &Path, overwrite: bool) -> Result<Self, OutputError> {
        if path.is_dir() {
            return Err(OutputError::Folder(path.to_owned()));
        }
        if path.exists() && !path.is_file() {
            return Err(OutputError::Special(path.to_owned()));
        }
        if !overwrite && path.exists() {
            return Err(OutputError::Exists(path.to_owned()));
        }
        let io = |error| OutputError::Io {
            path: path.to_owned(),
            error,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let claim = claim(&part).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            _claim: claim.ok_or_else(|| OutputError::Busy(path.to_owned()))?,
            part,
            committed: false,
        })
    }

    /// Where to write.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// A folder beside it, for what is needed until it is whole.
    pub fn scratch(&self) -> PathBuf {
        let mut scratch = self.path.clone().into_os_string();
        scratch.push(".rmx-segments");
        PathBuf::from(scratch)
    }

    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was written becomes the file, in one step. It is on the disk then, whatever happens to the machine: what it was
    /// made of may be deleted.
    pub fn commit(mut self) -> Result<PathBuf, OutputError> {
        let io = |error| OutputError::Io {
            path: self.path.clone(),
            error,
        };
        let written = File::open(&self.part).and_then(|file| file.sync_all());
        let named = written.and_then(|()| std::fs::rename(&self.part, &self.path));
        named.map_err(io)?;
        self.committed = true;
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        match folder.and_then(|folder| folder.sync_all()) {
            // Some file systems know no such thing, and folders may be written to and not read.
            Err(error) if is_not_possible(&error) => {}
            synced => synced.map_err(io)?,
        }
        Ok(self.path.clone())
    }
}

fn is_not_possible(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing more can be done about a file that cannot be removed.
            drop(std::fs::remove_file(&self.part));
        }
    }
}

/// The unfinished file, locked; `None` if somebody else holds it. Its content is left alone until then.
fn claim(part: &Path) -> io::Result<Option<File>> {
    for _ in 0..CLAIM_ATTEMPTS_MAX {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(part)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever held it may have renamed or removed it since it was opened.
        let held = file.metadata()?;
        if std::fs::metadata(part).is_ok_and(|there| there.ino() == held.ino()) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.mp4");
        let output = OutputFile::create(&path, true).unwrap();
        std::fs::write(output.part(), "half").unwrap();
        drop(output);
        assert_eq!(
            std::fs::read_dir(folder.path().join("a")).unwrap().count(),
            0
        );

        let output = OutputFile::create(&path, true).unwrap();
        std::fs::write(output.part(), "whole").unwrap();
        output.commit().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole");
        assert!(matches!(
            OutputFile::create(&path, false),
            Err(OutputError::Exists(_))
        ));
        assert!(matches!(
            OutputFile::create(Path::new("/dev/null"), true),
            Err(OutputError::Special(_))
        ));
        assert!(matches!(
            OutputFile::create(folder.path(), true),
            Err(OutputError::Folder(_))
        ));
        assert!(matches!(
            OutputFile::create(&path.join("c.mp4"), true),
            Err(OutputError::Io { .. })
        ));
    }

    #[test]
    fn two_renders_do_not_write_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        let first = OutputFile::create(&path, true).unwrap();
        std::fs::write(first.part(), "first").unwrap();
        assert!(matches!(
            OutputFile::create(&path, true),
            Err(OutputError::Busy(_))
        ));
        // Neither cut off nor removed by the one that was refused.
        assert_eq!(std::fs::read_to_string(first.part()).unwrap(), "first");
        first.commit().unwrap();

        // What a killed render has left is in nobody's way.
        std::fs::write(folder.path().join("a.mp4.part"), "left behind").unwrap();
        drop(OutputFile::create(&path, true).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

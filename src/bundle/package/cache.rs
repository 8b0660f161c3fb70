//! Components by digest, on this machine: fetched once, checked every time, good without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::PackageError;
use crate::bundle::tree::Entry;
use crate::digest::Digest;
use crate::env::Env;

/// How often it is looked whether another process has done with a download.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(200);

/// The folder of a user's components.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The user's: `XDG_CACHE_HOME/rmx/components`, else `~/.cache/rmx/components`.
    pub fn of(env: &Env) -> Self {
        let base = match (env.variable("XDG_CACHE_HOME"), env.variable("HOME")) {
            (Some(cache), _) => env.working_directory.join(cache),
            (None, Some(home)) => env.working_directory.join(home).join(".cache"),
            (None, None) => env.working_directory.join(".cache"),
        };
        Self {
            folder: base.join("rmx/components"),
        }
    }

    /// Where the file with this digest is or would be.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    /// Where a download that was cut off is gone on with.
    pub(super) fn partial(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{digest}.partial"))
    }

    /// Waits until no other process fetches the file with this digest; none begins to while what is returned, or a copy of it that a
    /// child process has, lives. Meanwhile calls `tick` again and again.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(super) async fn alone(
        &self,
        digest: Digest,
        tick: impl Fn(),
    ) -> Result<fs::File, PackageError> {
        let path = self.folder.join(format!("{digest}.lock"));
        let failed = PackageError::writing(&path);
        let file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = match file {
            Ok(file) => file,
            Err(error) => return Err(failed(error)),
        };
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                // Its holder has a bound of its own, and the kernel lets go of it when that dies.
                Err(fs::TryLockError::WouldBlock) => {
                    tokio::time::sleep(LOOKED_AT_EVERY).await;
                    tick();
                }
                Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// The folder, made if need be.
    pub(super) fn folder(&self) -> Result<&Path, PackageError> {
        fs::create_dir_all(&self.folder).map_err(PackageError::writing(&self.folder))?;
        Ok(&self.folder)
    }

    /// The file with this digest. One that has been spoiled is not it.
    pub(super) fn find(&self, digest: Digest) -> Option<PathBuf> {
        let path = self.path(digest);
        let entry = Entry::read(&path).ok()?;
        (entry.digest == digest).then_some(path)
    }

    /// Keeps `file`, which lies on the same file system, if it has the digest that `component` asks for. If it has not, it is
    /// removed, and nothing in the cache is touched.
    pub(super) fn keep(
        &self,
        component: &str,
        file: &Path,
        wanted: Digest,
    ) -> Result<PathBuf, PackageError> {
        let found = Entry::read(file)?.digest;
        if found != wanted {
            fs::remove_file(file).map_err(PackageError::writing(file))?;
            return Err(PackageError::Digest {
                component: component.to_owned(),
                found,
                wanted,
            });
        }
        let path = self.path(wanted);
        fs::rename(file, &path).map_err(PackageError::writing(&path))?;
        Ok(path)
    }
}

//! Where the embedded cloud keeps its data: JSON documents in a folder, each behind a kernel lock.
//!
//! Several processes may use one folder at the same time (`rmx local serve` beside `rmx plan`). Every access
//! takes the document's lock file, reads it, and writes it whole (temp file, sync, rename), so a reader sees
//! one version or the next and a crash leaves the last complete one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Opens the folder, making it if it does not exist. Private to the user (mode 0700).
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        // Absolute, because functions are run from folders within it.
        Ok(Self {
            directory: directory.canonicalize()?,
        })
    }

    /// The path of `name` within the folder. `name` is the program's own, never a client's.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Reads document `name`; the default value where it does not exist yet.
    pub(crate) fn read<T: DeserializeOwned + Default>(&self, name: &str) -> io::Result<T> {
        let _lock = self.lock(name, false)?;
        self.load(name)
    }

    /// Changes document `name` while nobody else can read or write it. Nothing is written when `change` fails.
    pub(crate) fn update<T, R, E>(
        &self,
        name: &str,
        change: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E>
    where
        T: DeserializeOwned + Default + Serialize,
        E: From<io::Error>,
    {
        let _lock = self.lock(name, true)?;
        let mut document = self.load(name)?;
        let result = change(&mut document)?;
        self.write(name, &document)?;
        Ok(result)
    }

    /// Writes document `name` whole. For those who hold a [`Store::lock`] that covers it.
    pub(crate) fn write<T: Serialize>(&self, name: &str, document: &T) -> io::Result<()> {
        let bytes = serde_json::to_vec(document).map_err(io::Error::from)?;
        let path = self.path(name);
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(&self.directory))?;
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Reads document `name` without a lock: what was written last, whole.
    pub(crate) fn load<T: DeserializeOwned + Default>(&self, name: &str) -> io::Result<T> {
        match fs::read(self.path(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let path = self.path(name);
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{} is damaged ({error}); delete it to start afresh",
                        path.display()
                    ),
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
            Err(error) => Err(error),
        }
    }

    /// Waits for the kernel lock of `name` and holds it until the file is dropped. Never held across an await.
    pub(crate) fn lock(&self, name: &str, exclusive: bool) -> io::Result<File> {
        let path = self.directory.join(format!("{name}.lock"));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .open(path)?;
        if exclusive {
            file.lock()?;
        } else {
            file.lock_shared()?;
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_updates_lose_nothing_and_failures_write_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data")).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        store
                            .update("count.json", |count: &mut u32| {
                                *count += 1;
                                Ok::<_, io::Error>(())
                            })
                            .unwrap();
                    }
                });
            }
        });
        let failed = store.update("count.json", |count: &mut u32| {
            *count = 0;
            Err::<(), _>(io::Error::other("no"))
        });
        assert!(failed.is_err());
        assert_eq!(store.read::<u32>("count.json").unwrap(), 100);
    }
}

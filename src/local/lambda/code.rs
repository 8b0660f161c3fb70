//! Function zips: kept once per digest, checked on arrival, unpacked once for execution.
//!
//! `lambda-code-REGION/DIGEST.zip` is the zip as it came, `lambda-code-REGION/DIGEST/` the unpacked folder. Both appear by
//! rename, so several processes may do the same work at once and a reader never sees half of it.

use std::fs;
use std::io::{self, Read, Seek, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::local::store::Store;

use super::error::{Kind, ServiceError};
use super::model::Code;
use super::reference::Place;

/// What unpacking writes at most, whatever the account's quota is.
const UNZIPPED_BYTES_MAX: u64 = 250 * 1024 * 1024;

/// Not AWS's, but what makes unpacking bounded.
const ENTRIES_MAX: usize = 100_000;

/// The zips of a data folder.
#[derive(Debug, Clone)]
pub(super) struct CodeStore {
    folder: PathBuf,
}

impl CodeStore {
    /// The folder of one region: a digest is forgotten when no function of its region refers to it.
    pub(super) fn new(store: &Store, place: &Place) -> Self {
        Self {
            folder: store.path(&format!("lambda-code-{}", place.region)),
        }
    }

    /// One that lies in `folder`.
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Checks a zip and says what would be recorded of it.
    pub(super) fn check(zip: &[u8], unzipped_bytes_max: u64) -> Result<Code, ServiceError> {
        let unreadable = || {
            ServiceError::parameter(
                "Could not unzip uploaded file. Please check your file, then try to upload again.",
            )
        };
        if zip.is_empty() {
            return Err(ServiceError::parameter(
                "Uploaded file must be a non-empty zip",
            ));
        }
        let mut archive = zip::ZipArchive::new(io::Cursor::new(zip)).map_err(|_| unreadable())?;
        if archive.is_empty() {
            return Err(ServiceError::parameter(
                "Uploaded file must be a non-empty zip",
            ));
        }
        if archive.len() > ENTRIES_MAX {
            return Err(ServiceError::unsupported(format!(
                "zips of more than {ENTRIES_MAX} entries"
            )));
        }
        let unzipped = entry_bytes(&mut archive).map_err(|_| unreadable())?;
        if unzipped > unzipped_bytes_max {
            return Err(ServiceError::parameter(format!(
                "Unzipped size must be smaller than {unzipped_bytes_max} bytes"
            )));
        }
        Ok(Code {
            sha256: Digest::of(zip),
            size_bytes: zip.len() as u64,
        })
    }

    /// Keeps a checked zip. Called while the document that will refer to it is locked, like [`Self::forget`],
    /// so that neither undoes the other.
    pub(super) fn keep(&self, code: &Code, zip: &[u8]) -> io::Result<()> {
        let path = self.zip_path(&code.sha256);
        if path.exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(zip)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Where the zip is.
    pub(super) fn zip_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.zip"))
    }

    /// The unpacked folder, unpacking now if nobody has.
    pub(super) fn unpacked(&self, digest: &Digest) -> io::Result<PathBuf> {
        self.unpacked_over(std::slice::from_ref(digest))
    }

    /// The folder of several zips, each unpacked over those before it.
    pub(super) fn unpacked_over(&self, digests: &[Digest]) -> io::Result<PathBuf> {
        let name = match digests {
            [one] => *one,
            several => {
                let names: Vec<String> = several.iter().map(Digest::to_string).collect();
                Digest::of(names.join(" "))
            }
        };
        let folder = self.folder.join(name.to_string());
        if folder.exists() {
            return Ok(folder);
        }
        let temporary = tempfile::Builder::new()
            .prefix("unpacking-")
            .tempdir_in(&self.folder)?;
        for digest in digests {
            unpack(fs::File::open(self.zip_path(digest))?, temporary.path())?;
        }
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755))?;
        match fs::rename(temporary.path(), &folder) {
            Ok(()) => {
                let _gone = temporary.keep();
                Ok(folder)
            }
            // Another process was quicker; its folder has the same content.
            Err(_) if folder.exists() => Ok(folder),
            Err(error) => Err(error),
        }
    }

    /// Removes zips and folders that no function uses any more.
    pub(super) fn forget<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) {
        for digest in digests {
            // Nothing depends on it being gone: a later upload of the same zip finds it or writes it again.
            let _ = fs::remove_file(self.zip_path(digest));
            let _ = fs::remove_dir_all(self.folder.join(digest.to_string()));
        }
    }
}

/// What is in a zip, unpacked.
pub(super) fn unzipped_bytes(zip: impl Read + Seek) -> io::Result<u64> {
    let mut archive = zip::ZipArchive::new(zip).map_err(io::Error::other)?;
    entry_bytes(&mut archive).map_err(io::Error::other)
}

fn entry_bytes(archive: &mut zip::ZipArchive<impl Read + Seek>) -> zip::result::ZipResult<u64> {
    let mut all_bytes: u64 = 0;
    for index in 0..archive.len() {
        all_bytes = all_bytes.saturating_add(archive.by_index_raw(index)?.size());
    }
    Ok(all_bytes)
}

/// Unpacks into `folder`. An entry that would land outside is refused; permissions are kept, with enough for
/// the owner to read and remove again.
fn unpack(zip: impl Read + Seek, folder: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(zip).map_err(io::Error::other)?;
    let mut left = UNZIPPED_BYTES_MAX;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(io::Error::other)?;
        let relative_name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let Some(relative) = entry.enclosed_name() else {
            return Err(io::Error::other(format!(
                "zip entry `{relative_name}` leaves the folder"
            )));
        };
        let path = folder.join(relative);
        if entry.is_dir() {
            fs::create_dir_all(&path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // What another zip put there gives way; a link is not written through.
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path)?;
        }
        if entry.is_symlink() {
            let mut target = String::new();
            entry.by_ref().take(4096).read_to_string(&mut target)?;
            let stays = !Path::new(&target).is_absolute()
                && !Path::new(&target)
                    .components()
                    .any(|part| part == std::path::Component::ParentDir);
            if !stays {
                return Err(io::Error::other(format!(
                    "symbolic link `{relative_name}` leaves its folder"
                )));
            }
            std::os::unix::fs::symlink(target, &path)?;
            continue;
        }
        let mode = entry.unix_mode().unwrap_or(0o644) & 0o777 | 0o600;
        let mut file = fs::File::create(&path)?;
        let copied = io::copy(&mut entry.by_ref().take(left + 1), &mut file)?;
        left = left
            .checked_sub(copied)
            .ok_or_else(|| io::Error::other("the zip holds more than it says"))?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Answers where a zip is too large to be sent inline.
pub(super) fn check_inline(zip: &[u8], bytes_max: u64) -> Result<(), ServiceError> {
    if zip.len() as u64 > bytes_max {
        return Err(ServiceError::new(
            Kind::RequestTooLarge,
            format!(
                "Request must be smaller than {bytes_max} bytes for the CreateFunction operation"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zip::write::SimpleFileOptions;

    fn zip_of(entries: &[(&str, u32)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, mode) in entries {
            writer
                .start_file(*name, SimpleFileOptions::default().unix_permissions(*mode))
                .unwrap();
            writer.write_all(b"text").unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn unpacks_once_keeps_modes_and_never_leaves_its_folder() {
        let data = tempfile::tempdir().unwrap();
        let codes = CodeStore::new(
            &Store::open(data.path()).unwrap(),
            &Place {
                region: "eu-west-1".parse().unwrap(),
                account: "123456789012".parse().unwrap(),
            },
        );
        let good = zip_of(&[("bootstrap", 0o755), ("deep/down/page.html", 0o644)]);
        let code = CodeStore::check(&good, UNZIPPED_BYTES_MAX).unwrap();
        codes.keep(&code, &good).unwrap();
        let folder = codes.unpacked(&code.sha256).unwrap();
        assert_eq!(codes.unpacked(&code.sha256).unwrap(), folder);
        let mode = |name: &str| {
            fs::metadata(folder.join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            (mode("bootstrap"), mode("deep/down/page.html")),
            (0o755, 0o644)
        );

        let evil = zip_of(&[("../../evil", 0o644)]);
        let code = CodeStore::check(&evil, UNZIPPED_BYTES_MAX).unwrap();
        codes.keep(&code, &evil).unwrap();
        assert!(codes.unpacked(&code.sha256).is_err());
        assert!(!data.path().parent().unwrap().join("evil").exists());

        assert!(CodeStore::check(b"no zip", UNZIPPED_BYTES_MAX).is_err());
        assert!(CodeStore::check(&zip_of(&[]), UNZIPPED_BYTES_MAX).is_err());
    }
}

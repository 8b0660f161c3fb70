//! A folder as sorted entries: path, mode, digest of the content. The same files give the same entries on every
//! machine, whatever the order in which the file system lists them, whoever owns them and whenever they were written.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use super::BundleError;
use crate::digest::Digest;

/// More files than any site has. A folder with more is most likely the wrong one.
const FILES_MAX: usize = 20_000;

/// What the Finder of macOS leaves in every folder that somebody looked at.
const SKIPPED: &str = ".DS_Store";

/// Where rmx keeps its state. It must never be uploaded.
const OWN_FOLDER: &str = ".rmx";

/// The files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The folder.
    pub folder: PathBuf,
    /// Path below the folder, parts joined by `/` → what is there. Empty folders are nothing.
    pub entries: BTreeMap<String, Entry>,
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Size of the content.
    pub size_bytes: u64,
    /// Whether its owner may run it. Nothing else of a file's mode is kept.
    pub executable: bool,
}

impl Tree {
    /// Reads every file of `folder`.
    ///
    /// # Errors
    /// There is no such folder, it holds what cannot be bundled, or something cannot be read.
    pub fn read(folder: &Path) -> Result<Self, BundleError> {
        if !folder.is_dir() {
            return Err(BundleError::NoFolder(folder.to_owned()));
        }
        let mut entries = BTreeMap::new();
        for found in WalkDir::new(folder).min_depth(1) {
            let found = found.map_err(|error| walk_error(folder, error))?;
            let (path, kind) = (found.path(), found.file_type());
            if kind.is_symlink() {
                return Err(BundleError::Link(path.to_owned()));
            }
            if kind.is_dir() {
                if found.file_name() == OWN_FOLDER {
                    return Err(BundleError::OwnData(path.to_owned()));
                }
                continue;
            }
            if !kind.is_file() {
                return Err(BundleError::Special(path.to_owned()));
            }
            if found.file_name() == SKIPPED {
                continue;
            }
            if entries.len() == FILES_MAX {
                let folder = folder.to_owned();
                return Err(BundleError::TooManyFiles {
                    folder,
                    files_max: FILES_MAX,
                });
            }
            entries.insert(name_below(folder, path)?, Entry::read(path)?);
        }
        Ok(Self {
            folder: folder.to_owned(),
            entries,
        })
    }

    /// The identity of the tree: digest of its sorted entries.
    pub fn digest(&self) -> Digest {
        let mut sha256 = Sha256::new();
        for (path, entry) in &self.entries {
            sha256.update(entry.line(path));
        }
        Digest::from_sha256(sha256.finalize().into())
    }

    /// The size of all files together.
    pub fn size_bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.size_bytes).sum()
    }

    /// The digest of each file, by its path.
    pub(super) fn file_digests(&self) -> BTreeMap<String, Digest> {
        let files = self.entries.iter();
        files
            .map(|(path, entry)| (path.clone(), entry.digest))
            .collect()
    }
}

impl Entry {
    /// What makes it what it is, under the name `path`. Names may hold line breaks; the length says where they end.
    pub(super) fn line(&self, path: &str) -> String {
        let mode = if self.executable { 'x' } else { '-' };
        format!("{mode} {} {}:{path}\n", self.digest, path.len())
    }

    /// Reads one file.
    pub(super) fn read(path: &Path) -> Result<Self, BundleError> {
        let read = || {
            let mut file = File::open(path)?;
            let executable = is_executable(&file.metadata()?);
            let mut reading = Digesting::new(io::sink());
            let size_bytes = io::copy(&mut file, &mut reading)?;
            Ok(Self {
                digest: reading.digest(),
                size_bytes,
                executable,
            })
        };
        read().map_err(|source| BundleError::Read {
            path: path.to_owned(),
            source,
        })
    }
}

/// Passes on what is written and digests it.
pub(super) struct Digesting<W> {
    inner: W,
    sha256: Sha256,
}

impl<W> Digesting<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            sha256: Sha256::new(),
        }
    }

    /// Of all that was written so far.
    pub(super) fn digest(self) -> Digest {
        Digest::from_sha256(self.sha256.finalize().into())
    }
}

impl<W: io::Write> io::Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

fn name_below(folder: &Path, path: &Path) -> Result<String, BundleError> {
    let below = path.strip_prefix(folder).unwrap_or(path);
    let parts: Option<Vec<&str>> = below.iter().map(|part| part.to_str()).collect();
    Ok(parts
        .ok_or_else(|| BundleError::Name(path.to_owned()))?
        .join("/"))
}

fn walk_error(folder: &Path, error: walkdir::Error) -> BundleError {
    BundleError::Read {
        path: error.path().unwrap_or(folder).to_owned(),
        source: error
            .into_io_error()
            .unwrap_or_else(|| io::Error::other("folders form a loop")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn the_same_files_are_the_same_tree() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = [
            ("index.html", "1"),
            ("a/b.js", "2"),
            ("a-b.js", "3"),
            ("é.txt", "4"),
        ];
        write(one.path(), &files);
        fs::create_dir(one.path().join("empty")).unwrap();
        let mut backwards = files;
        backwards.reverse();
        write(other.path(), &backwards);
        write(other.path(), &[("a/.DS_Store", "junk")]);
        fs::set_permissions(
            other.path().join("a/b.js"),
            fs::Permissions::from_mode(0o640),
        )
        .unwrap();

        let (one, other) = (
            Tree::read(one.path()).unwrap(),
            Tree::read(other.path()).unwrap(),
        );
        assert_eq!(one.entries, other.entries);
        assert_eq!(one.digest(), other.digest());
        let names: Vec<_> = one.entries.keys().map(String::as_str).collect();
        assert_eq!(names, ["a-b.js", "a/b.js", "index.html", "é.txt"]);
        assert_eq!(
            (one.size_bytes(), one.entries["a/b.js"].digest),
            (4, Digest::of("2"))
        );
    }

    #[test]
    fn path_mode_and_content_count() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("a", "1"), ("b", "2")]);
        let digest = || Tree::read(folder.path()).unwrap().digest();
        let mut digests = vec![digest()];
        write(folder.path(), &[("a", "2"), ("b", "1")]);
        digests.push(digest());
        fs::rename(folder.path().join("b"), folder.path().join("c")).unwrap();
        digests.push(digest());
        fs::set_permissions(folder.path().join("c"), fs::Permissions::from_mode(0o755)).unwrap();
        digests.push(digest());
        fs::remove_file(folder.path().join("c")).unwrap();
        digests.push(digest());
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 5);
    }

    #[test]
    fn what_cannot_be_bundled_is_named() {
        let refused = |make: &dyn Fn(&Path)| {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &[("index.html", "1")]);
            make(&folder.path().canonicalize().unwrap());
            Tree::read(folder.path()).unwrap_err()
        };
        let link = refused(&|folder| {
            std::os::unix::fs::symlink("index.html", folder.join("link")).unwrap();
        });
        assert!(
            matches!(&link, BundleError::Link(path) if path.ends_with("link")),
            "{link}"
        );
        let name = refused(&|folder| {
            fs::write(folder.join(OsStr::from_bytes(b"\xff.js")), "").unwrap();
        });
        assert!(matches!(name, BundleError::Name(_)), "{name}");
        let own = refused(&|folder| write(folder, &[("deep/.rmx/state/default.json", "{}")]));
        assert!(matches!(own, BundleError::OwnData(_)), "{own}");
        let special = refused(&|folder| {
            drop(std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap());
        });
        assert!(matches!(special, BundleError::Special(_)), "{special}");
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path(), Path::new("/does/not/exist")] {
            assert!(matches!(Tree::read(path), Err(BundleError::NoFolder(_))));
        }
    }
}

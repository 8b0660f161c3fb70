//! What a function runs, as one zip. Zipping a worker takes a second or two, so the zip is kept and found again by the
//! digest of what it is made of.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::parts::part_sizes;
use super::tree::{Entry, Tree};
use super::{BundleError, program, zip};
use crate::digest::Digest;

/// What Lambda unpacks at most, layers included (`CodeSizeUnzipped` of its account limits; it cannot be raised).
pub const UNZIPPED_BYTES_MAX: u64 = 262_144_000;

/// The program that Lambda starts.
const BOOTSTRAP: &str = "bootstrap";

/// Packages that stay in the cache: of the stages and the branches that somebody goes back and forth between.
const CACHED_MAX: usize = 4;

/// Where the code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageSource {
    /// One program, which becomes `bootstrap`.
    Worker(PathBuf),
    /// A folder with a `bootstrap` in it.
    Folder(PathBuf),
}

impl PackageSource {
    /// The worker that lies next to the running `rmx`.
    pub fn worker_next_to(executable: &Path) -> Self {
        Self::Worker(executable.with_file_name("rmx-worker"))
    }

    /// Checks that its program can run on `architecture`, without reading the rest. That there is none is for
    /// [`FunctionPackage::build`] to say.
    ///
    /// # Errors
    /// It is a program for another machine, or cannot be read.
    pub fn check_machine(&self, architecture: &str) -> Result<(), BundleError> {
        let program = match self {
            Self::Worker(path) => path.clone(),
            Self::Folder(folder) => folder.join(BOOTSTRAP),
        };
        if program.is_file() {
            program::check(&program, architecture)
        } else {
            Ok(())
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Worker(path) | Self::Folder(path) => path,
        }
    }

    /// Name within the zip → file, what is in it.
    fn files(&self) -> Result<Files, BundleError> {
        let mut files: Files = match self {
            Self::Worker(path) if !path.is_file() => {
                return Err(BundleError::NoWorker(path.clone()));
            }
            Self::Worker(path) => {
                [(BOOTSTRAP.to_owned(), (path.clone(), Entry::read(path)?))].into()
            }
            Self::Folder(folder) => {
                let tree = Tree::read(folder)?;
                let entries = tree.entries.into_iter();
                entries
                    .map(|(name, entry)| (name.clone(), (folder.join(name), entry)))
                    .collect()
            }
        };
        match files.get_mut(BOOTSTRAP) {
            // Lambda could not start it otherwise, and some file systems know no such mode.
            Some((_, entry)) => entry.executable = true,
            None => return Err(BundleError::NoBootstrap(self.path().to_owned())),
        }
        Ok(files)
    }
}

/// Name within the zip → file, what is in it.
pub(super) type Files = BTreeMap<String, (PathBuf, Entry)>;

/// What a package must be like.
#[derive(Debug, Clone, Copy)]
pub struct PackageRules<'a> {
    /// What the function runs on: `arm64` or `x86_64`.
    pub architecture: &'a str,
    /// How large it may be unzipped; [`UNZIPPED_BYTES_MAX`] on AWS.
    pub unzipped_bytes_max: Option<u64>,
}

/// A function package, ready for upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionPackage {
    /// The zip.
    pub zip: PathBuf,
    /// SHA-256 of the zip: Lambda's `CodeSha256`.
    pub code_sha256: Digest,
    /// Size of the zip.
    pub size_bytes: u64,
    /// Size of what is in it.
    pub unzipped_bytes: u64,
}

impl FunctionPackage {
    /// Packs `source`, or finds the zip that was made of the same files in `cache`, a folder that is made as needed.
    ///
    /// # Errors
    /// There is nothing to pack, it breaks `rules`, or something cannot be read or written.
    pub fn build(
        source: &PackageSource,
        rules: PackageRules<'_>,
        cache: &Path,
    ) -> Result<Self, BundleError> {
        let files = source.files()?;
        program::check(&files[BOOTSTRAP].0, rules.architecture)?;
        let unzipped_bytes = files.values().map(|(_, entry)| entry.size_bytes).sum();
        if let Some(size_bytes_max) = rules.unzipped_bytes_max.filter(|max| unzipped_bytes > *max) {
            return Err(BundleError::TooLarge {
                path: source.path().to_owned(),
                size_bytes: unzipped_bytes,
                size_bytes_max,
            });
        }
        let prefix = format!("function-{}-", identity(&files));
        let (zip, entry) = match find(cache, &prefix) {
            Some(found) => found,
            None => pack(&files, cache, &prefix)?,
        };
        Ok(Self {
            zip,
            code_sha256: entry.digest,
            size_bytes: entry.size_bytes,
            unzipped_bytes,
        })
    }
}

impl FunctionPackage {
    /// What each file takes in the zip, by its name.
    ///
    /// # Errors
    /// The zip cannot be read.
    pub fn zipped_sizes(&self) -> Result<BTreeMap<String, u64>, BundleError> {
        zip::sizes(&self.zip).map_err(|source| BundleError::Read {
            path: self.zip.clone(),
            source,
        })
    }
}

/// What the parts of the code with this digest take unzipped, by name: components of a package, files of other code. `None` if it is not
/// in `cache`, or not readable.
pub fn kept_part_sizes(cache: &Path, code_sha256: &Digest) -> Option<BTreeMap<String, u64>> {
    let ending = format!("-{code_sha256}.zip");
    let mut kept = cached(cache).into_iter();
    let zip = kept.find(|path| path.to_string_lossy().ends_with(&ending))?;
    part_sizes(&zip).ok()
}

/// What the zip's bytes depend on: the files and, for the compressor's sake, the version of rmx.
fn identity(files: &Files) -> Digest {
    let mut sha256 = Sha256::new();
    sha256.update(concat!("rmx ", env!("CARGO_PKG_VERSION"), "\n"));
    for (name, (_, entry)) in files {
        sha256.update(entry.line(name));
    }
    Digest::from_sha256(sha256.finalize().into())
}

/// A zip in the cache whose content still is what its name says.
fn find(cache: &Path, prefix: &str) -> Option<(PathBuf, Entry)> {
    cached(cache).into_iter().find_map(|path| {
        let name = path.file_name()?.to_str()?;
        let digest = name.strip_prefix(prefix)?.strip_suffix(".zip")?;
        let entry = Entry::read(&path).ok()?;
        (entry.digest.to_string() == digest).then_some((path, entry))
    })
}

fn pack(files: &Files, cache: &Path, prefix: &str) -> Result<(PathBuf, Entry), BundleError> {
    let failed = |source| BundleError::Write {
        path: cache.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(cache)
        .map_err(failed)?;
    let mut file = tempfile::Builder::new()
        .prefix(".packing-")
        .tempfile_in(cache)
        .map_err(failed)?;
    zip::write(files, file.as_file_mut(), failed)?;
    let entry = Entry::read(file.path())?;
    let path = cache.join(format!("{prefix}{}.zip", entry.digest));
    file.persist(&path).map_err(|error| failed(error.error))?;
    let mut others = cached(cache);
    others.retain(|other| *other != path);
    for old in others.iter().skip(CACHED_MAX - 1) {
        fs::remove_file(old).map_err(failed)?;
    }
    Ok((path, entry))
}

/// The packages in the cache, newest first.
fn cached(cache: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(cache)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let package = name.starts_with("function-") && name.ends_with(".zip");
            package.then_some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    const RULES: PackageRules<'_> = PackageRules {
        architecture: "x86_64",
        unzipped_bytes_max: None,
    };

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn build(source: &PackageSource, cache: &Path) -> FunctionPackage {
        FunctionPackage::build(source, RULES, cache).unwrap()
    }

    #[test]
    fn the_same_files_are_the_same_zip() {
        let files = [
            ("bootstrap", "#!/bin/sh\n"),
            ("lib/é.txt", "text"),
            ("lib-a", "a"),
        ];
        let mut backwards = files;
        backwards.reverse();
        let (one, other) = (folder(&files), folder(&backwards));
        // Neither the time nor the mode on the disk counts, but for who may run what.
        let early = File::options()
            .write(true)
            .open(one.path().join("lib-a"))
            .unwrap();
        early
            .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1 << 30))
            .unwrap();
        fs::set_permissions(one.path().join("lib-a"), fs::Permissions::from_mode(0o600)).unwrap();
        let (cache, empty_cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = build(&PackageSource::Folder(one.path().to_owned()), cache.path());
        let other = build(
            &PackageSource::Folder(other.path().to_owned()),
            empty_cache.path(),
        );
        assert_eq!(one.code_sha256, other.code_sha256);
        assert_eq!(one.code_sha256, Digest::of(fs::read(&one.zip).unwrap()));
        assert_eq!(one.unzipped_bytes, 15);

        let mut zip = ::zip::ZipArchive::new(File::open(&one.zip).unwrap()).unwrap();
        let mut found = Vec::new();
        for index in 0..zip.len() {
            let mut file = zip.by_index(index).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            let mode = file.unix_mode().unwrap() & 0o777;
            assert_eq!(file.last_modified(), Some(::zip::DateTime::DEFAULT));
            found.push((file.name().unwrap().to_string(), mode, text));
        }
        let expected = [
            ("bootstrap", 0o755, "#!/bin/sh\n"),
            ("lib-a", 0o644, "a"),
            ("lib/é.txt", 0o644, "text"),
        ]
        .map(|(name, mode, text)| (name.to_owned(), mode, text.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_zip_is_made_once_and_made_again_when_it_is_spoiled() {
        let (files, cache) = (
            folder(&[("worker", "#!/bin/sh\n")]),
            tempfile::tempdir().unwrap(),
        );
        let source = PackageSource::Worker(files.path().join("worker"));
        let first = build(&source, cache.path());
        let written = fs::metadata(&first.zip).unwrap().modified().unwrap();
        assert_eq!(build(&source, cache.path()), first);
        assert_eq!(
            fs::metadata(&first.zip).unwrap().modified().unwrap(),
            written
        );
        fs::write(&first.zip, "PK").unwrap();
        assert_eq!(build(&source, cache.path()), first);
        assert_eq!(Digest::of(fs::read(&first.zip).unwrap()), first.code_sha256);

        for text in ["1", "2", "3", "4", "5", "6"] {
            fs::write(files.path().join("worker"), text).unwrap();
            let package = build(&source, cache.path());
            assert_ne!(package.code_sha256, first.code_sha256);
            assert!(package.zip.exists());
        }
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), CACHED_MAX);
    }

    #[test]
    fn what_lambda_would_refuse_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        let refused = |source: &PackageSource, rules| {
            FunctionPackage::build(source, rules, cache.path()).unwrap_err()
        };
        let none = PackageSource::Folder("/does/not/exist".into());
        assert!(matches!(refused(&none, RULES), BundleError::NoFolder(_)));
        let other = folder(&[("boot", "")]);
        let source = PackageSource::Folder(other.path().to_owned());
        assert!(matches!(
            refused(&source, RULES),
            BundleError::NoBootstrap(_)
        ));
        let missing = PackageSource::worker_next_to(&other.path().join("rmx"));
        let error = refused(&missing, RULES);
        assert!(error.to_string().ends_with("/rmx-worker"), "{error}");

        fs::write(other.path().join("bootstrap"), {
            let mut arm64 = b"\x7fELF\x02\x01".to_vec();
            arm64.resize(18, 0);
            arm64.extend([0xb7, 0]);
            arm64
        })
        .unwrap();
        let error = refused(&source, RULES).to_string();
        assert!(
            error.ends_with("is a program for arm64, the function's architecture is x86_64"),
            "{error}"
        );

        fs::write(other.path().join("bootstrap"), "12345").unwrap();
        let small = PackageRules {
            unzipped_bytes_max: Some(4),
            ..RULES
        };
        assert!(matches!(
            refused(&source, small),
            BundleError::TooLarge { size_bytes: 5, .. }
        ));
        assert!(
            fs::read_dir(cache.path()).unwrap().next().is_none(),
            "nothing is left behind"
        );
    }
}

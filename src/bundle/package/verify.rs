//! Whether a package would run on Lambda, as far as its files tell.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Serialize;

use super::manifest::{MANIFEST_NAME, Manifest, NOTICE_NAME};
use super::{PackageError, elf};
use crate::bundle::UNZIPPED_BYTES_MAX;
use crate::bundle::tree::Tree;

/// glibc of Amazon Linux 2023, which Lambda's `provided.al2023` is (AL2023 User Guide, "Core toolchain packages").
const GLIBC_MAX: (u32, u32) = (2, 34);

/// Libraries that are there whatever else is. `provided.al2023` is the minimal container image of Amazon Linux 2023 (AL2023 User
/// Guide, "Using AL2023 in AWS Lambda"): every program in it needs `glibc`, glibc itself needs `libgcc`, and the package manager keeps
/// its database in SQLite, which NSS opens too. Nothing else of it is relied on.
pub const SYSTEM_LIBRARIES: [&str; 13] = [
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
    "libanl.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libmvec.so.1",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libsqlite3.so.0",
    "libutil.so.1",
];

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file in the package; empty where it is about all of it.
    pub path: String,
    /// What is wrong, as a clause.
    pub problem: String,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Verification {
    /// What the package is made of.
    pub manifest: Manifest,
    /// By how much it is larger than Lambda unzips.
    pub over_bytes: u64,
    /// What is not as it must be, the size included; nothing if it would run.
    pub findings: Vec<Finding>,
}

/// Looks at every file of the package in `folder`.
///
/// # Errors
/// It is no package, or cannot be read.
pub fn verify(folder: &Path) -> Result<Verification, PackageError> {
    let manifest = Manifest::load(folder)?;
    let tree = Tree::read(folder)?;
    let mut findings = Vec::new();
    let mut find = |path: &str, problem: String| {
        let path = path.to_owned();
        findings.push(Finding { path, problem });
    };
    let over_bytes = tree.size_bytes().saturating_sub(UNZIPPED_BYTES_MAX);
    if over_bytes > 0 {
        let problem = format!(
            "the package is {} bytes unzipped; Lambda takes {UNZIPPED_BYTES_MAX} at most, layers included",
            tree.size_bytes()
        );
        find("", problem);
    }
    let mut known = BTreeSet::from([MANIFEST_NAME, NOTICE_NAME]);
    for (path, digest) in manifest.components.iter().flat_map(|part| &part.files) {
        known.insert(path);
        match tree.entries.get(path) {
            Some(entry) if entry.digest == *digest => {}
            Some(_) => find(
                path,
                "it was changed since the package was built".to_owned(),
            ),
            None => find(path, "it is missing".to_owned()),
        }
    }
    for path in tree
        .entries
        .keys()
        .filter(|path| !known.contains(path.as_str()))
    {
        find(path, "it is of no component".to_owned());
    }
    let libraries: BTreeSet<&str> = tree
        .entries
        .keys()
        .filter_map(|path| path.rsplit('/').next())
        .collect();
    for path in tree.entries.keys() {
        let Some(bytes) = program(&folder.join(path))? else {
            continue;
        };
        match elf::needs(&bytes) {
            Err(message) => find(path, format!("it is a broken program: {message}")),
            Ok(needs) => {
                for problem in problems(&needs, &manifest.architecture, &libraries) {
                    find(path, problem);
                }
            }
        }
    }
    Ok(Verification {
        manifest,
        over_bytes,
        findings,
    })
}

/// The bytes of an ELF file, unpacked where it is packed.
fn program(path: &Path) -> Result<Option<Vec<u8>>, PackageError> {
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let mut file: Box<dyn std::io::Read> = {
        let file = BufReader::new(File::open(path).map_err(PackageError::reading(path))?);
        if packed {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        }
    };
    let mut bytes = Vec::new();
    file.by_ref()
        .take(4)
        .read_to_end(&mut bytes)
        .map_err(PackageError::reading(path))?;
    if !elf::is_elf(&bytes) {
        return Ok(None);
    }
    let size_bytes = fs::metadata(path)
        .map_err(PackageError::reading(path))?
        .len();
    bytes.reserve(usize::try_from(size_bytes).unwrap_or(0));
    file.read_to_end(&mut bytes)
        .map_err(PackageError::reading(path))?;
    Ok(Some(bytes))
}

/// Why a program that needs `needs` would not start.
fn problems(needs: &elf::Needs, architecture: &str, libraries: &BTreeSet<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    if needs.machine != architecture {
        problems.push(format!(
            "it is for {}, the package is for {architecture}",
            needs.machine
        ));
    }
    if let Some((major, minor)) = needs.glibc.filter(|version| *version > GLIBC_MAX) {
        problems.push(format!(
            "it needs glibc {major}.{minor}; Lambda has {}.{}",
            GLIBC_MAX.0, GLIBC_MAX.1
        ));
    }
    for library in &needs.libraries {
        let library = library.as_str();
        if !SYSTEM_LIBRARIES.contains(&library) && !libraries.contains(library) {
            problems.push(format!(
                "it needs {library}, which neither the package nor Lambda's system has"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_start_is_told() {
        let needs = |machine: &str, library: &str, glibc| elf::Needs {
            machine: machine.to_owned(),
            libraries: [library.to_owned()].into(),
            glibc,
        };
        let ours = BTreeSet::from(["libnss3.so"]);
        let problems = |needs| problems(&needs, "x86_64", &ours);
        assert!(problems(needs("x86_64", "libnss3.so", Some((2, 34)))).is_empty());
        assert!(problems(needs("x86_64", "libc.so.6", None)).is_empty());
        let found = problems(needs("arm64", "libX11.so.6", Some((2, 36))));
        assert_eq!(
            found,
            [
                "it is for arm64, the package is for x86_64",
                "it needs glibc 2.36; Lambda has 2.34",
                "it needs libX11.so.6, which neither the package nor Lambda's system has",
            ]
        );
    }
}

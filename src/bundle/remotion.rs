//! Remotion's own function: the zip in the project's `node_modules/@remotion/lambda`, byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

use super::BundleError;
use super::function::FunctionPackage;
use super::parts::part_sizes;
use super::tree::Entry;

/// The package of npm that holds it, and its name there (4.0.527).
const PACKAGE: &str = "node_modules/@remotion/lambda";
const ZIP: &str = "remotionlambda-arm64.zip";

impl FunctionPackage {
    /// Remotion's function of `version`, from the nearest package above `project`, as Node.js looks for one.
    ///
    /// # Errors
    /// There is none, it is of another version, or it cannot be read.
    pub fn of_remotion(project: &Path, version: &str) -> Result<Self, BundleError> {
        let zip = Self::find_remotion(project, version)?;
        let Entry {
            digest, size_bytes, ..
        } = Entry::read(&zip)?;
        let sizes = part_sizes(&zip).map_err(|source| BundleError::Read {
            path: zip.clone(),
            source,
        })?;
        Ok(Self {
            unzipped_bytes: sizes.values().sum(),
            zip,
            code_sha256: digest,
            size_bytes,
        })
    }

    /// Where the zip is.
    ///
    /// # Errors
    /// There is no such package, or it is of another version.
    pub fn find_remotion(project: &Path, version: &str) -> Result<PathBuf, BundleError> {
        let zip = zip_of(project)?;
        check_version(zip.with_file_name("package.json"), version)?;
        Ok(zip)
    }
}

fn zip_of(project: &Path) -> Result<PathBuf, BundleError> {
    let mut found = project.ancestors().map(|folder| folder.join(PACKAGE));
    match found.find(|package| package.is_dir()) {
        Some(package) => Ok(package.join(ZIP)),
        None => Err(BundleError::NoRemotion(project.to_owned())),
    }
}

fn check_version(path: PathBuf, wanted: &str) -> Result<(), BundleError> {
    let read = |source| BundleError::Read {
        path: path.clone(),
        source,
    };
    let text = fs::read_to_string(&path).map_err(read)?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| read(error.into()))?;
    match json["version"].as_str() {
        Some(found) if found == wanted => Ok(()),
        found => Err(BundleError::RemotionVersion {
            found: found.unwrap_or("none").to_owned(),
            wanted: wanted.to_owned(),
            path,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_package_counts_and_must_be_of_the_version() {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("videos/farm");
        let package_of = |version: &str| FunctionPackage::of_remotion(&project, version);
        fs::create_dir_all(&project).unwrap();
        assert!(matches!(
            package_of("4.0.527"),
            Err(BundleError::NoRemotion(_))
        ));

        let modules = root.path().join(PACKAGE);
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("package.json"), r#"{"version": "4.0.526"}"#).unwrap();
        match package_of("4.0.527") {
            Err(BundleError::RemotionVersion { found, wanted, .. }) => {
                assert_eq!((&found[..], &wanted[..]), ("4.0.526", "4.0.527"));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            package_of("4.0.526"),
            Err(BundleError::Read { .. })
        ));
    }
}

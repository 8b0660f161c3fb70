//! What a package is made of, as it says itself: which file is of which component.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::PackageError;
use crate::digest::Digest;

/// The file in a package that holds its manifest.
pub const MANIFEST_NAME: &str = "rmx-package.json";

/// The file in a package that says under which licences its components come.
pub(super) const NOTICE_NAME: &str = "NOTICE";

/// Of the manifest. A later rmx may write another one.
pub(super) const FORMAT_VERSION: u32 = 1;

/// What a package is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this document.
    pub format_version: u32,
    /// `arm64` or `x86_64`.
    pub architecture: String,
    /// By name.
    pub components: Vec<Part>,
}

/// One component of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the recipe.
    pub name: String,
    /// As its source names it; empty where there is none.
    pub version: String,
    /// Of the file its source gave.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<Digest>,
    /// SPDX expression.
    pub licence: String,
    /// Where its source and licence texts are.
    pub home: String,
    /// All its files together.
    pub size_bytes: u64,
    /// Path in the package → digest.
    pub files: BTreeMap<String, Digest>,
}

impl Manifest {
    /// Reads the manifest of the package in `folder`.
    ///
    /// # Errors
    /// There is none, or it is not understood.
    pub fn load(folder: &Path) -> Result<Self, PackageError> {
        let path = folder.join(MANIFEST_NAME);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(PackageError::NoManifest(folder.to_owned()));
            }
            other => other.map_err(PackageError::reading(&path))?,
        };
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| PackageError::reading(&path)(error.into()))?;
        if manifest.format_version > FORMAT_VERSION {
            let message = format!(
                "its format is {}, this rmx knows {FORMAT_VERSION}",
                manifest.format_version
            );
            return Err(PackageError::reading(&path)(std::io::Error::other(message)));
        }
        Ok(manifest)
    }

    /// All components together.
    pub fn size_bytes(&self) -> u64 {
        self.components.iter().map(|part| part.size_bytes).sum()
    }

    /// The text of the package's `NOTICE`.
    pub(super) fn notice(&self) -> String {
        let mut text = "This function package holds programs and files of several projects, each under its own licence.\n\
             Their sources and the texts of the licences are where each entry says.\n"
            .to_owned();
        for part in &self.components {
            text += &format!("\n{}", part.name);
            if !part.version.is_empty() {
                text += &format!(" {}", part.version);
            }
            text += &format!("\n  licence: {}\n  source:  {}\n", part.licence, part.home);
        }
        text
    }
}

//! A folder as it is uploaded as a site.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{BundleError, Tree};
use crate::digest::Digest;

/// A web page and all it needs, ready for upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteBundle {
    /// The folder.
    pub folder: PathBuf,
    /// Digest of the sorted entries.
    pub digest: Digest,
    /// Path below the folder → SHA-256 of the content.
    pub files: BTreeMap<String, Digest>,
    /// The size of all files together.
    pub size_bytes: u64,
}

impl SiteBundle {
    /// Reads a site's folder.
    ///
    /// # Errors
    /// The folder has no `index.html`, or cannot be bundled; see [`Tree::read`].
    pub fn read(folder: &Path) -> Result<Self, BundleError> {
        let tree = Tree::read(folder)?;
        if !tree.entries.contains_key("index.html") {
            return Err(BundleError::NoIndexPage(tree.folder));
        }
        Ok(Self {
            digest: tree.digest(),
            size_bytes: tree.size_bytes(),
            files: tree.file_digests(),
            folder: tree.folder,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("index.htm"), "1").unwrap();
        let error = SiteBundle::read(folder.path()).unwrap_err();
        assert!(
            error.to_string().contains("holds no `index.html`"),
            "{error}"
        );
        std::fs::write(folder.path().join("index.html"), "12").unwrap();
        let site = SiteBundle::read(folder.path()).unwrap();
        assert_eq!((site.files.len(), site.size_bytes), (2, 3));
        assert_eq!(site.files["index.html"], Digest::of("12"));
    }
}

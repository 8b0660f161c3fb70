//! Files are uploaded as they were planned, or not at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::ChangeError;
use crate::digest::Digest;
use crate::names::SiteName;

/// Files that changes upload.
#[derive(Debug, Clone, Default)]
pub struct Artefacts {
    /// The function zip.
    pub code: Option<PathBuf>,
    /// The folders of the sites.
    pub sites: BTreeMap<SiteName, PathBuf>,
}

/// The size of a file whose content is `planned`.
///
/// # Errors
/// The file cannot be read, or its content is another one.
pub(super) async fn check_file(path: &Path, planned: Digest) -> Result<u64, ChangeError> {
    let unreadable = |source| ChangeError::ReadFile {
        path: path.to_owned(),
        source,
    };
    let owned = path.to_owned();
    let digested = tokio::task::spawn_blocking(move || {
        let mut sha256 = Sha256::new();
        let size_bytes = std::io::copy(&mut File::open(owned)?, &mut sha256)?;
        Ok((Digest::from_sha256(sha256.finalize().into()), size_bytes))
    });
    let (found, size_bytes) = digested
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(unreadable)?;
    if found == planned {
        return Ok(size_bytes);
    }
    Err(ChangeError::Artefact {
        path: path.to_owned(),
        planned,
        found,
    })
}

//! What the code of a function is made of, read from its zip.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::package::{MANIFEST_NAME, Manifest};

/// What each part takes unzipped, by name: the components of a package, the files of other code.
///
/// # Errors
/// The zip cannot be read.
pub(super) fn part_sizes(zip: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut archive = ZipArchive::new(File::open(zip)?)?;
    match archive.by_name(MANIFEST_NAME) {
        Ok(file) => {
            let manifest: Manifest = serde_json::from_reader(file)?;
            let parts = manifest.components.into_iter();
            return Ok(parts.map(|part| (part.name, part.size_bytes)).collect());
        }
        Err(ZipError::FileNotFound) => {}
        Err(error) => return Err(error.into()),
    }
    let mut sizes = BTreeMap::new();
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index)?;
        sizes.insert(file.name()?.to_string(), file.size());
    }
    Ok(sizes)
}

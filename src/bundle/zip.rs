//! The canonical zip: the same tree is the same bytes.
//!
//! Entries are sorted, their time is the earliest that zip knows, their mode is 0755 or 0644, and the deflate level is
//! fixed. Only another version of the compressor could make other bytes of the same files; it comes with another
//! version of rmx, never by itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::BundleError;
use super::function::Files;
use super::tree::Digesting;

/// Higher levels take several times as long for a few percent.
const DEFLATE_LEVEL: i64 = 6;

/// Writes `files` as a zip. `failed` tells what could not be written to.
///
/// # Errors
/// A file cannot be read, is another one than when its digest was made, or `target` cannot be written to.
pub(super) fn write(
    files: &Files,
    target: &mut File,
    failed: impl Fn(io::Error) -> BundleError,
) -> Result<(), BundleError> {
    let mut zip = ZipWriter::new(target);
    for (name, (path, entry)) in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(DEFLATE_LEVEL))
            .last_modified_time(DateTime::DEFAULT)
            .large_file(entry.size_bytes > u64::from(u32::MAX))
            .unix_permissions(if entry.executable { 0o755 } else { 0o644 });
        zip.start_file(name, options)
            .map_err(|error| failed(error.into()))?;
        let mut file = File::open(path).map_err(|source| BundleError::Read {
            path: path.clone(),
            source,
        })?;
        let mut packing = Digesting::new(&mut zip);
        io::copy(&mut file, &mut packing).map_err(&failed)?;
        if packing.digest() != entry.digest {
            return Err(BundleError::Changed(path.clone()));
        }
    }
    zip.finish().map_err(|error| failed(error.into()))?;
    Ok(())
}

/// What each file takes in the zip at `path`.
pub(super) fn sizes(path: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut archive = ZipArchive::new(File::open(path)?)?;
    let mut sizes = BTreeMap::new();
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index)?;
        sizes.insert(file.name()?.to_string(), file.compressed_size());
    }
    Ok(sizes)
}

//! When the frames of an MP4 are shown stands in its tables, a small part of it. A copy that has the tables, and holes
//! where pictures and sound would be, tells that to ffmpeg without anything else being fetched.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

use super::remote::RemoteFile;
use crate::worker::failure::Cause;

/// Boxes of a file, at its top level. A fragmented film has more; it is read whole.
const BOXES_MAX: u32 = 64;
/// Tables of a film of a day are smaller.
const TABLES_BYTES_MAX: u64 = 64 << 20;
/// So much of the media data is there: ffmpeg looks at the first pictures to know what they are.
const MEDIA_BYTES_KEPT: u64 = 1 << 20;
/// The longest head of a box: size, kind, and size again in 64 bits (ISO/IEC 14496-12, 4.2).
const HEAD_BYTES_MAX: u64 = 16;

/// A copy of an MP4's tables in the folder `scratch`; nothing if the film is no plain MP4.
///
/// # Errors
/// The file cannot be read or the copy not be written.
pub(super) async fn write(
    film: &RemoteFile,
    scratch: &Path,
) -> Result<Option<NamedTempFile>, Cause> {
    let disk = |error: io::Error| Cause::lasting(format!("its tables cannot be kept: {error}"));
    let copy = tempfile::Builder::new()
        .prefix("rmx-tables-")
        .tempfile_in(scratch);
    let copy = copy.map_err(disk)?;
    copy.as_file().set_len(film.size_bytes).map_err(disk)?;
    let (mut at, mut tables_bytes) = (0, 0_u64);
    for number in 0..BOXES_MAX {
        if at == film.size_bytes {
            return Ok(Some(copy));
        }
        let head = read(film, at, HEAD_BYTES_MAX).await?;
        let Some((kind, size_bytes)) = box_head(&head, film.size_bytes - at) else {
            return Ok(None);
        };
        if number == 0 && kind != *b"ftyp" {
            return Ok(None);
        }
        let kept_bytes = match &kind {
            b"mdat" => size_bytes.min(MEDIA_BYTES_KEPT),
            _ => {
                tables_bytes += size_bytes;
                size_bytes
            }
        };
        if tables_bytes > TABLES_BYTES_MAX {
            return Ok(None);
        }
        let content = read(film, at, kept_bytes).await?;
        copy.as_file().write_all_at(&content, at).map_err(disk)?;
        at += size_bytes;
    }
    Ok(None)
}

async fn read(film: &RemoteFile, start: u64, length: u64) -> Result<Vec<u8>, Cause> {
    let end = start.saturating_add(length);
    let mut content = Vec::new();
    loop {
        let piece = film.read(start + content.len() as u64..end).await?;
        if piece.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(&piece);
    }
}

/// Kind and size of the box that begins with these bytes, when `left_bytes` are left of the file.
fn box_head(head: &[u8], left_bytes: u64) -> Option<([u8; 4], u64)> {
    let size: [u8; 4] = head.get(..4)?.try_into().ok()?;
    let kind: [u8; 4] = head.get(4..8)?.try_into().ok()?;
    let (size_bytes, head_bytes) = match u32::from_be_bytes(size) {
        0 => (left_bytes, 8),
        1 => (u64::from_be_bytes(head.get(8..16)?.try_into().ok()?), 16),
        size_bytes => (u64::from(size_bytes), 8),
    };
    (head_bytes..=left_bytes)
        .contains(&size_bytes)
        .then_some((kind, size_bytes))
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// The head of a box: it lies in the file, and the next one behind it.
    pub(crate) fn boxes(mut case: crate::fuzzing::Case<'_>) {
        let left_bytes = case.number();
        if let Some((_, size_bytes)) = box_head(case.0, left_bytes) {
            assert!((8..=left_bytes).contains(&size_bytes), "{size_bytes}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_of_boxes_are_read_as_the_standard_defines_them() {
        let head = |size: u32, more: &[u8]| [&size.to_be_bytes()[..], b"mdat", more].concat();
        let large = 5_000_000_000_u64;
        for (head, left_bytes, expected) in [
            (head(8, &[]), 8, Some(8)),
            (head(9, &[]), 8, None),
            (head(7, &[]), 100, None),
            (head(0, &[]), 100, Some(100)),
            (head(1, &large.to_be_bytes()), large, Some(large)),
            (head(1, &15_u64.to_be_bytes()), 100, None),
            (head(1, &[0; 7]), 100, None),
            (b"mdat".to_vec(), 100, None),
        ] {
            let found = box_head(&head, left_bytes);
            assert_eq!(found, expected.map(|size| (*b"mdat", size)), "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_there_a_box_is_in_the_file_and_moves_on(
            head in prop::collection::vec(any::<u8>(), 0..20),
            left_bytes in any::<u64>(),
        ) {
            if let Some((_, size_bytes)) = box_head(&head, left_bytes) {
                prop_assert!((8..=left_bytes).contains(&size_bytes));
            }
        }
    }
}

//! Segments → one video file, without encoding anything again.
//!
//! The tables of all segments are read first, so everything that could go wrong with them is known before the output
//! is touched. Then the head of the file (`ftyp`, `moov`) is written, and the frames are copied from the bucket straight
//! into place behind it: `moov` comes before `mdat`, so a player can begin before it has the whole file. Memory holds
//! the tables (some twenty bytes a frame) and a few read buffers, never the frames.

mod movie;
mod segment;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use mp4_atom::{Atom as _, Decode as _, Header, Moov};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::cloud::{CloudError, ObjectReader};
use crate::media::Fps;

pub use segment::SegmentProblem;
use segment::SegmentTable;

/// What is read of a segment at first; its `moov` is often in there.
const PROBE_BYTES: u64 = 64 * 1024;

/// The largest `moov` of a segment that is believed: some hundred thousand frames.
const MOOV_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Boxes in front of a segment's `moov` that are stepped over.
const BOXES_MAX: usize = 32;

/// Segments whose tables are read at the same time.
const TABLES_IN_FLIGHT: usize = 16;

/// Reads that are opened ahead of the one being copied, so that their answers are on the way.
const READS_AHEAD: usize = 4;

/// Attempts at copying a range whose connection breaks.
const READ_ATTEMPTS_MAX: u32 = 4;

const COPY_BUFFER_BYTES: usize = 256 * 1024;

/// A segment in the bucket, in the order of the video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentSource {
    /// Key of the object.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
    /// Frames it must hold.
    pub frame_count: u32,
}

/// The finished video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stitched {
    /// Size of the file.
    pub size_bytes: u64,
    /// Frames in it.
    pub frame_count: u64,
}

/// Opens the bytes `range` of the object `key`.
pub type OpenRange<'a> = dyn Fn(String, Range<u64>) -> BoxFuture<'a, Result<ObjectReader, CloudError>>
    + Send
    + Sync
    + 'a;

/// Why segments could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum StitchError {
    /// A segment is not what it should be.
    #[error("the segment `{key}` cannot be used: {problem}")]
    Segment {
        /// Key of the segment.
        key: String,
        /// What is wrong with it.
        problem: SegmentProblem,
    },
    /// A segment cannot be read.
    #[error("{0}")]
    Cloud(#[from] CloudError),
    /// The connection broke more often than is tried.
    #[error("the segment `{key}` could not be read to its end")]
    Read {
        /// Key of the segment.
        key: String,
        /// What happened last.
        #[source]
        error: std::io::Error,
    },
    /// The head of the file cannot be written down.
    #[error("the tables of the video cannot be written")]
    Tables(#[from] mp4_atom::Error),
    /// The output cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

/// Joins `segments` into the file at `path`, which is written in place: give a temporary one.
///
/// `on_frames` is told how many frames have been copied so far. There must be at least one segment.
///
/// # Errors
/// A segment is missing, cut off, or does not fit the others; the output cannot be written.
pub async fn stitch(
    segments: &[SegmentSource],
    fps: Fps,
    open: &OpenRange<'_>,
    path: &Path,
    mut on_frames: impl FnMut(u64),
) -> Result<Stitched, StitchError> {
    let tables = read_tables(segments, fps, open).await?;
    let comment = concat!("Made with rmx ", env!("CARGO_PKG_VERSION"));
    let head = movie::head(&tables, fps, comment)?;
    let output_error = |error| StitchError::Output {
        path: path.to_owned(),
        error,
    };
    let file = tokio::fs::File::create(path).await.map_err(output_error)?;
    let mut output = tokio::io::BufWriter::with_capacity(COPY_BUFFER_BYTES, file);
    output.write_all(&head).await.map_err(output_error)?;

    let mut stitched = Stitched {
        size_bytes: head.len() as u64,
        frame_count: 0,
    };
    let mut reads = futures::stream::iter(pieces(segments, &tables))
        .map(|piece| async move {
            let reader = open(piece.key.to_owned(), piece.range.clone()).await;
            (piece, reader)
        })
        .buffered(READS_AHEAD);
    while let Some((piece, reader)) = reads.next().await {
        copy(&piece, reader?, open, &mut output, path).await?;
        stitched.size_bytes += piece.range.end - piece.range.start;
        stitched.frame_count += u64::from(piece.frames_done);
        on_frames(stitched.frame_count);
    }
    output.flush().await.map_err(output_error)?;
    let file = output.into_inner();
    file.sync_all().await.map_err(output_error)?;
    Ok(stitched)
}

/// Bytes to be copied from one segment.
#[derive(Debug, Clone)]
struct Piece<'a> {
    key: &'a str,
    range: Range<u64>,
    /// Frames that are complete once this is copied: all of the segment's with its last piece.
    frames_done: u32,
}

fn pieces<'a>(
    segments: &'a [SegmentSource],
    tables: &'a [SegmentTable],
) -> impl Iterator<Item = Piece<'a>> {
    segments.iter().zip(tables).flat_map(|(segment, table)| {
        let last = table.ranges.len() - 1;
        table
            .ranges
            .iter()
            .enumerate()
            .map(move |(index, range)| Piece {
                key: &segment.key,
                range: range.clone(),
                frames_done: if index == last {
                    segment.frame_count
                } else {
                    0
                },
            })
    })
}

/// Copies a piece, beginning again where a broken connection left off.
async fn copy(
    piece: &Piece<'_>,
    mut reader: ObjectReader,
    open: &OpenRange<'_>,
    output: &mut (impl AsyncWrite + Unpin),
    path: &Path,
) -> Result<(), StitchError> {
    let mut next = piece.range.start;
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    for attempt in 1.. {
        let broken = loop {
            let left = usize::try_from(piece.range.end - next).unwrap_or(usize::MAX);
            if left == 0 {
                return Ok(());
            }
            let part = &mut buffer[..left.min(COPY_BUFFER_BYTES)];
            match reader.body.read(part).await {
                Ok(0) => break std::io::Error::from(std::io::ErrorKind::UnexpectedEof),
                Ok(length) => {
                    output.write_all(&part[..length]).await.map_err(|error| {
                        StitchError::Output {
                            path: path.to_owned(),
                            error,
                        }
                    })?;
                    next += length as u64;
                }
                Err(error) => break error,
            }
        };
        if attempt == READ_ATTEMPTS_MAX {
            return Err(StitchError::Read {
                key: piece.key.to_owned(),
                error: broken,
            });
        }
        tracing::debug!(key = piece.key, %broken, "reading a segment again from {next}");
        reader = open(piece.key.to_owned(), next..piece.range.end).await?;
    }
    Ok(())
}

/// The tables of all segments, which are known to fit together.
async fn read_tables(
    segments: &[SegmentSource],
    fps: Fps,
    open: &OpenRange<'_>,
) -> Result<Vec<SegmentTable>, StitchError> {
    let tables: Vec<SegmentTable> = futures::stream::iter(segments)
        .map(|segment| async move {
            let moov = read_moov(segment, open).await?;
            SegmentTable::parse(&moov, segment.size_bytes, fps, segment.frame_count)
                .map_err(|problem| unusable(segment, problem))
        })
        .buffered(TABLES_IN_FLIGHT)
        .try_collect()
        .await?;
    for (segment, table) in segments.iter().zip(&tables) {
        if let Some(what) = movie::difference(&tables[0], table) {
            let first = segments[0].key.clone();
            return Err(unusable(segment, SegmentProblem::Different { what, first }));
        }
    }
    Ok(tables)
}

/// The segment's `moov` box, header included, wherever in the file it is.
async fn read_moov(segment: &SegmentSource, open: &OpenRange<'_>) -> Result<Vec<u8>, StitchError> {
    let container = |text: &str| unusable(segment, SegmentProblem::Container(text.to_owned()));
    let mut window = Vec::new();
    let mut window_at = 0;
    let mut next = 0;
    for _ in 0..BOXES_MAX {
        if next >= segment.size_bytes {
            return Err(container("there is no `moov`"));
        }
        let known = usize::try_from(next - window_at)
            .ok()
            .and_then(|skip| window.get(skip..))
            .filter(|bytes: &&[u8]| bytes.len() >= 16);
        let bytes = match known {
            Some(bytes) => bytes,
            None => {
                let end = segment.size_bytes.min(next + PROBE_BYTES);
                window = read(segment, next..end, open).await?;
                window_at = next;
                &window
            }
        };
        let Some((kind, size_bytes)) = box_at(bytes, segment.size_bytes - next) else {
            return Err(container("its boxes cannot be told apart"));
        };
        let end = next
            .checked_add(size_bytes)
            .filter(|end| *end <= segment.size_bytes)
            .ok_or_else(|| {
                unusable(
                    segment,
                    SegmentProblem::CutOff {
                        needed: next.saturating_add(size_bytes),
                        found: segment.size_bytes,
                    },
                )
            })?;
        if kind != Moov::KIND {
            next = end;
            continue;
        }
        if size_bytes > MOOV_BYTES_MAX {
            return Err(container("its `moov` is too large"));
        }
        let length = usize::try_from(size_bytes).map_err(|_| container("too large"))?;
        return match bytes.get(..length) {
            Some(moov) => Ok(moov.to_vec()),
            None => read(segment, next..end, open).await,
        };
    }
    Err(container("there are too many boxes before `moov`"))
}

/// Kind and size (header included) of the box that `bytes` begin with; a box may reach to the end of the file.
fn box_at(bytes: &[u8], left_in_file: u64) -> Option<(mp4_atom::FourCC, u64)> {
    let mut rest = bytes;
    let header = Header::decode(&mut rest).ok()?;
    let header_bytes = (bytes.len() - rest.len()) as u64;
    let size_bytes = match header.size {
        Some(size) => (size as u64).checked_add(header_bytes)?,
        None => left_in_file,
    };
    Some((header.kind, size_bytes))
}

async fn read(
    segment: &SegmentSource,
    range: Range<u64>,
    open: &OpenRange<'_>,
) -> Result<Vec<u8>, StitchError> {
    let mut bytes = Vec::new();
    let piece = Piece {
        key: &segment.key,
        range: range.clone(),
        frames_done: 0,
    };
    let reader = open(segment.key.clone(), range).await?;
    copy(&piece, reader, open, &mut bytes, Path::new("memory")).await?;
    Ok(bytes)
}

fn unusable(segment: &SegmentSource, problem: SegmentProblem) -> StitchError {
    StitchError::Segment {
        key: segment.key.clone(),
        problem,
    }
}

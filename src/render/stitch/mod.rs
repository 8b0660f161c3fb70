//! Segments and their sound → one video file, without encoding anything again.
//!
//! The tables of all segments are read first, so everything that could go wrong with them is known before the output
//! is touched. Then the head of the file (`ftyp`, `moov`) is written, and the frames are copied from the bucket straight
//! into place behind it: `moov` comes before `mdat`, so a player can begin before it has the whole file. Memory holds
//! the tables (some twenty bytes a frame) and a few read buffers, never the frames.

mod feed;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod layout;
mod movie;
mod segment;
mod sound;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use mp4_atom::{Atom as _, Decode as _, Header as BoxHeader, Moov};
use tokio::io::AsyncWriteExt as _;

use crate::cloud::{CloudError, ObjectReader};
use crate::media::Fps;

use feed::{COPY_BUFFER_BYTES, Feed};
use layout::Track;
pub use segment::SegmentProblem;
use segment::SegmentTable;
use sound::SoundTable;

/// What is read of a segment at first; its `moov` is often in there.
const PROBE_BYTES: u64 = 64 * 1024;

/// The largest `moov` of a segment that is believed: some hundred thousand frames.
const MOOV_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Boxes in front of a segment's `moov` that are stepped over.
const BOXES_MAX: usize = 32;

/// Segments whose tables are read at the same time.
const TABLES_IN_FLIGHT: usize = 16;

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

/// What the head of the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Frames a second.
    pub fps: Fps,
    /// What the file says of itself: names as ffmpeg has them (`title`, `comment`), and texts.
    pub tags: Vec<(String, String)>,
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

/// The sound of the whole video, as an object of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundSource {
    /// Key of the object.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
}

/// Joins `segments` and `sound` into the file at `path`, which is written in place: give a temporary one. Whoever gives it its name
/// waits until it is on the disk, as [`crate::render::output::OutputFile::commit`] does.
///
/// `on_frames` is told how many frames have been copied so far. There must be at least one segment.
///
/// # Errors
/// A segment is missing, cut off, or does not fit the others; the output cannot be written.
pub async fn stitch(
    segments: &[SegmentSource],
    sound: Option<&SoundSource>,
    header: &Header,
    open: &OpenRange<'_>,
    path: &Path,
    mut on_frames: impl FnMut(u64),
) -> Result<Stitched, StitchError> {
    let fps = header.fps;
    let tables = read_tables(segments, fps, open).await?;
    let sound_table = match sound {
        Some(sound) => Some(read_sound_table(sound, open).await?),
        None => None,
    };
    let runs = layout::layout(&tables, sound_table.as_ref(), fps);
    let parts = movie::Parts {
        segments: &tables,
        sound: sound_table.as_ref(),
        runs: &runs,
        fps,
    };
    let head = movie::head(&parts, &header.tags)?;
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
    let pictures = segments
        .iter()
        .zip(&tables)
        .flat_map(|(segment, table)| table.ranges.iter().map(|range| (&segment.key[..], range)));
    let sounds = sound
        .iter()
        .zip(&sound_table)
        .flat_map(|(sound, table)| table.ranges.iter().map(|range| (&sound.key[..], range)));
    let mut pictures = Feed::new(pictures, open);
    let mut sounds = Feed::new(sounds, open);
    for run in &runs {
        let feed = match run.track {
            Track::Video => &mut pictures,
            Track::Sound => &mut sounds,
        };
        feed.copy(run.bytes, &mut output, path).await?;
        stitched.size_bytes += run.bytes;
        if run.track == Track::Video {
            stitched.frame_count += u64::from(run.samples);
            on_frames(stitched.frame_count);
        }
    }
    output.flush().await.map_err(output_error)?;
    Ok(stitched)
}

/// Copies an object of `size_bytes` into the file at `path`.
///
/// # Errors
/// It cannot be read to its end; the file cannot be written.
pub async fn copy_object(
    key: &str,
    size_bytes: u64,
    open: &OpenRange<'_>,
    path: &Path,
) -> Result<(), StitchError> {
    let output_error = |error| StitchError::Output {
        path: path.to_owned(),
        error,
    };
    let mut file = tokio::fs::File::create(path).await.map_err(output_error)?;
    let whole = 0..size_bytes;
    let mut feed = Feed::new(std::iter::once((key, &whole)), open);
    feed.copy(size_bytes, &mut file, path).await?;
    file.flush().await.map_err(output_error)
}

/// The sound's tables.
async fn read_sound_table(
    sound: &SoundSource,
    open: &OpenRange<'_>,
) -> Result<SoundTable, StitchError> {
    let object = Object {
        key: &sound.key,
        size_bytes: sound.size_bytes,
    };
    let moov = read_moov(object, open).await?;
    SoundTable::parse(&moov, sound.size_bytes).map_err(|problem| object.unusable(problem))
}

/// The tables of all segments, which are known to fit together.
async fn read_tables(
    segments: &[SegmentSource],
    fps: Fps,
    open: &OpenRange<'_>,
) -> Result<Vec<SegmentTable>, StitchError> {
    let tables: Vec<SegmentTable> = futures::stream::iter(segments)
        .map(|segment| async move {
            let object = Object::of(segment);
            let moov = read_moov(object, open).await?;
            SegmentTable::parse(&moov, segment.size_bytes, fps, segment.frame_count)
                .map_err(|problem| object.unusable(problem))
        })
        .buffered(TABLES_IN_FLIGHT)
        .try_collect()
        .await?;
    for (segment, table) in segments.iter().zip(&tables) {
        if let Some(what) = movie::difference(&tables[0], table) {
            let first = segments[0].key.clone();
            let different = SegmentProblem::Different { what, first };
            return Err(Object::of(segment).unusable(different));
        }
    }
    Ok(tables)
}

/// The object's `moov` box, header included, wherever in the file it is.
async fn read_moov(segment: Object<'_>, open: &OpenRange<'_>) -> Result<Vec<u8>, StitchError> {
    let container = |text: &str| segment.unusable(SegmentProblem::Container(text.to_owned()));
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
                segment.unusable(SegmentProblem::CutOff {
                    needed: next.saturating_add(size_bytes),
                    found: segment.size_bytes,
                })
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
    let header = BoxHeader::decode(&mut rest).ok()?;
    let header_bytes = (bytes.len() - rest.len()) as u64;
    let size_bytes = match header.size {
        Some(size) => (size as u64).checked_add(header_bytes)?,
        None => left_in_file,
    };
    Some((header.kind, size_bytes))
}

async fn read(
    object: Object<'_>,
    range: Range<u64>,
    open: &OpenRange<'_>,
) -> Result<Vec<u8>, StitchError> {
    let mut bytes = Vec::new();
    let mut feed = Feed::new(std::iter::once((object.key, &range)), open);
    let length = range.end - range.start;
    feed.copy(length, &mut bytes, Path::new("memory")).await?;
    Ok(bytes)
}

/// An object whose tables are read.
#[derive(Debug, Clone, Copy)]
struct Object<'a> {
    key: &'a str,
    size_bytes: u64,
}

impl<'a> Object<'a> {
    fn of(segment: &'a SegmentSource) -> Self {
        Self {
            key: &segment.key,
            size_bytes: segment.size_bytes,
        }
    }

    fn unusable(self, problem: SegmentProblem) -> StitchError {
        StitchError::Segment {
            key: self.key.to_owned(),
            problem,
        }
    }
}

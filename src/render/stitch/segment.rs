//! A segment's own tables: which bytes are frames, in which order they are decoded and shown.
//!
//! Nothing is taken on trust. A segment was written by a worker that may have been another version, killed, or not
//! ours at all, so whatever does not fit is refused before a byte of the output is written.

use std::ops::Range;

use mp4_atom::{Codec, Decode as _, Elst, Moov, Stbl, Stsd, StszSamples, Tkhd};

use crate::media::Fps;

/// Timestamps may be off by this part of a frame: containers round them to their timescale.
const ROUNDING: i128 = 10;

/// What is wrong with a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentProblem {
    /// The boxes cannot be read.
    #[error("it is not an MP4 file that can be read: {0}")]
    Container(String),
    /// ffmpeg cannot read it.
    #[error("{0}")]
    Unreadable(String),
    /// The tables point beyond the end of the file.
    #[error("it is cut off: its tables speak of {needed} bytes, and it has {found}")]
    CutOff {
        /// Where the last frame should end.
        needed: u64,
        /// Size of the object.
        found: u64,
    },
    /// Not exactly one video track.
    #[error("it has {0} tracks instead of one video track")]
    Tracks(usize),
    /// The track is neither H.264 nor HEVC.
    #[error("its video is neither H.264 in the form `avc1` nor HEVC in the form `hvc1`")]
    Codec,
    /// The track is not AAC.
    #[error("its sound is not AAC in the form `mp4a`")]
    SoundCodec,
    /// Frames are missing, or there are too many.
    #[error("it holds {found} frames instead of {expected}")]
    FrameCount {
        /// Frames in the file.
        found: u64,
        /// Frames in the chunk.
        expected: u32,
    },
    /// The tables contradict each other.
    #[error("its tables contradict each other ({0})")]
    Tables(&'static str),
    /// A frame is not where the frame rate puts it.
    #[error("its {what} timestamps are not those of {fps} frames per second")]
    Timestamps {
        /// `decoding` or `presentation`.
        what: &'static str,
        /// The frame rate of the render.
        fps: Fps,
    },
    /// The first frame depends on a frame before it.
    #[error("it does not begin with a keyframe")]
    Keyframe,
    /// It cannot be joined to the others.
    #[error("its {what} differs from that of the first segment, `{first}`")]
    Different {
        /// What differs.
        what: &'static str,
        /// Key of the first segment.
        first: String,
    },
}

/// What a segment's `moov` says, as far as stitching needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SegmentTable {
    /// The decoder's configuration, without bit rates (they depend on the content).
    pub(super) description: Stsd,
    /// Size and orientation of the picture.
    pub(super) header: Tkhd,
    /// Ticks a second.
    pub(super) timescale: u32,
    /// Size of every frame, in the order of decoding.
    pub(super) sizes: Vec<u32>,
    /// Position in the order of showing of every frame, in the order of decoding.
    pub(super) shown_at: Vec<u32>,
    /// Frames at which decoding can begin, in the order of decoding.
    pub(super) keyframes: Vec<u32>,
    /// The frames' bytes in the file, joined where they touch.
    pub(super) ranges: Vec<Range<u64>>,
}

impl SegmentTable {
    /// Reads a `moov` box (header included) of a file of `size_bytes` that should hold `frame_count` frames.
    pub(super) fn parse(
        moov: &[u8],
        size_bytes: u64,
        fps: Fps,
        frame_count: u32,
    ) -> Result<Self, SegmentProblem> {
        let moov = Moov::decode(&mut &*moov)
            .map_err(|error| SegmentProblem::Container(error.to_string()))?;
        let [track] = &moov.trak[..] else {
            return Err(SegmentProblem::Tracks(moov.trak.len()));
        };
        let media = &track.mdia;
        if media.hdlr.handler != b"vide".into() {
            return Err(SegmentProblem::Tracks(0));
        }
        let table = &media.minf.stbl;
        let sizes = sizes(table, frame_count)?;
        let edits = track.edts.as_ref().and_then(|edits| edits.elst.as_ref());
        let clock = Clock {
            timescale: media.mdhd.timescale,
            fps,
        };
        Ok(Self {
            description: description(table)?,
            header: track.tkhd.clone(),
            timescale: media.mdhd.timescale,
            shown_at: clock.shown_at(table, edits, frame_count)?,
            keyframes: keyframes(table, frame_count)?,
            ranges: ranges(table, &sizes, size_bytes)?,
            sizes,
        })
    }
}

fn description(table: &Stbl) -> Result<Stsd, SegmentProblem> {
    let mut description = table.stsd.clone();
    match &mut description.codecs[..] {
        [Codec::Avc1(avc1)] => avc1.btrt = None,
        [Codec::Hvc1(hvc1)] => hvc1.btrt = None,
        _ => return Err(SegmentProblem::Codec),
    }
    Ok(description)
}

fn sizes(table: &Stbl, frame_count: u32) -> Result<Vec<u32>, SegmentProblem> {
    let wrong = |found: u64| SegmentProblem::FrameCount {
        found,
        expected: frame_count,
    };
    match &table.stsz.samples {
        StszSamples::Identical { count, size } if *count == frame_count => {
            Ok(vec![*size; *count as usize])
        }
        StszSamples::Different { sizes } if sizes.len() == frame_count as usize => {
            Ok(sizes.clone())
        }
        StszSamples::Identical { count, .. } => Err(wrong(u64::from(*count))),
        StszSamples::Different { sizes } => Err(wrong(sizes.len() as u64)),
    }
}

fn keyframes(table: &Stbl, frame_count: u32) -> Result<Vec<u32>, SegmentProblem> {
    // Without a table of keyframes every frame is one.
    let Some(stss) = &table.stss else {
        return Ok((0..frame_count).collect());
    };
    if stss.entries.first() != Some(&1) {
        return Err(SegmentProblem::Keyframe);
    }
    let ascending = stss.entries.is_sorted_by(|a, b| a < b);
    if !ascending || stss.entries.last().is_some_and(|last| *last > frame_count) {
        return Err(SegmentProblem::Tables("keyframes"));
    }
    Ok(stss.entries.iter().map(|number| number - 1).collect())
}

/// Where the samples of a track lie in the file.
pub(super) fn ranges(
    table: &Stbl,
    sizes: &[u32],
    size_bytes: u64,
) -> Result<Vec<Range<u64>>, SegmentProblem> {
    const WRONG: SegmentProblem = SegmentProblem::Tables("positions of samples");
    let offsets: Vec<u64> = match (&table.stco, &table.co64) {
        (Some(stco), None) => stco.entries.iter().copied().map(u64::from).collect(),
        (None, Some(co64)) => co64.entries.clone(),
        _ => return Err(WRONG),
    };
    let mut runs = table.stsc.entries.iter().peekable();
    let mut samples_per_chunk = 0;
    let mut left = sizes;
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for (number, &offset) in (1_u32..).zip(&offsets) {
        if let Some(run) = runs.next_if(|run| run.first_chunk <= number) {
            samples_per_chunk = run.samples_per_chunk as usize;
        }
        let (these, rest) = left.split_at_checked(samples_per_chunk).ok_or(WRONG)?;
        left = rest;
        let length: u64 = these.iter().copied().map(u64::from).sum();
        let end = offset.checked_add(length).ok_or(WRONG)?;
        if end > size_bytes {
            return Err(SegmentProblem::CutOff {
                needed: end,
                found: size_bytes,
            });
        }
        match ranges.last_mut() {
            Some(last) if last.end == offset => last.end = end,
            _ => ranges.push(offset..end),
        }
    }
    if left.is_empty() && runs.next().is_none() {
        Ok(ranges)
    } else {
        Err(WRONG)
    }
}

/// Turns a file's ticks into frame positions.
struct Clock {
    timescale: u32,
    fps: Fps,
}

impl Clock {
    /// The frame position at `ticks`; `None` between two frames.
    fn position(&self, ticks: i64) -> Option<i64> {
        let frame = i128::from(self.timescale) * i128::from(self.fps.denominator());
        let time = i128::from(ticks) * i128::from(self.fps.numerator());
        if frame == 0 {
            return None;
        }
        let position = (2 * time + frame).div_euclid(2 * frame);
        let off = (time - position * frame).abs();
        (off * ROUNDING <= frame).then(|| i64::try_from(position).ok())?
    }

    fn wrong(&self, what: &'static str) -> SegmentProblem {
        SegmentProblem::Timestamps {
            what,
            fps: self.fps,
        }
    }

    /// For every frame in the order of decoding, its position in the order of showing, which starts at 0.
    fn shown_at(
        &self,
        table: &Stbl,
        edits: Option<&Elst>,
        frame_count: u32,
    ) -> Result<Vec<u32>, SegmentProblem> {
        let decoded = self.decoding_ticks(table, frame_count)?;
        let offsets = composition_offsets(table, frame_count)?;
        let shown: Vec<i64> = decoded
            .iter()
            .zip(&offsets)
            .map(|(ticks, offset)| ticks.saturating_add(*offset))
            .collect();
        let first = shown.iter().copied().min().unwrap_or(0);
        // The one edit that encoders write says where the first frame lies; any other would hide or delay frames.
        match edits.map(|edits| &edits.entries[..]) {
            None | Some([]) => {}
            Some([edit]) if edit.media_time.and_then(|t| i64::try_from(t).ok()) == Some(first) => {}
            Some(_) => return Err(self.wrong("presentation")),
        }
        let mut taken = vec![false; frame_count as usize];
        shown
            .iter()
            .map(|ticks| {
                let position = self.position(ticks.saturating_sub(first))?;
                let position = u32::try_from(position).ok()?;
                let seat = taken.get_mut(position as usize)?;
                (!std::mem::replace(seat, true)).then_some(position)
            })
            .collect::<Option<_>>()
            .ok_or_else(|| self.wrong("presentation"))
    }

    /// The decoding time of every frame, required to be one frame after the one before.
    fn decoding_ticks(&self, table: &Stbl, frame_count: u32) -> Result<Vec<i64>, SegmentProblem> {
        let mut ticks = Vec::with_capacity(frame_count as usize);
        let mut next = 0_i64;
        for entry in &table.stts.entries {
            for _ in 0..entry.sample_count {
                let number = ticks.len();
                if number == frame_count as usize {
                    return Err(SegmentProblem::Tables("durations"));
                }
                if self.position(next) != i64::try_from(number).ok() {
                    return Err(self.wrong("decoding"));
                }
                ticks.push(next);
                next = next.saturating_add(i64::from(entry.sample_delta));
            }
        }
        if ticks.len() == frame_count as usize {
            Ok(ticks)
        } else {
            Err(SegmentProblem::Tables("durations"))
        }
    }
}

/// Ticks from decoding to showing, for every frame.
fn composition_offsets(table: &Stbl, frame_count: u32) -> Result<Vec<i64>, SegmentProblem> {
    const WRONG: SegmentProblem = SegmentProblem::Tables("composition offsets");
    let Some(ctts) = &table.ctts else {
        return Ok(vec![0; frame_count as usize]);
    };
    let mut offsets = Vec::with_capacity(frame_count as usize);
    for entry in &ctts.entries {
        let left = frame_count as usize - offsets.len();
        if entry.sample_count as usize > left {
            return Err(WRONG);
        }
        offsets.extend(std::iter::repeat_n(
            entry.sample_offset,
            entry.sample_count as usize,
        ));
    }
    if offsets.len() == frame_count as usize {
        Ok(offsets)
    } else {
        Err(WRONG)
    }
}

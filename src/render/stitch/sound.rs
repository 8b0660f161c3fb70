//! The sound's own tables: an MP4 file with one AAC track, as a worker made it.

use std::ops::Range;

use mp4_atom::{Codec, Decode as _, Moov, Stbl, Stsd, StszSamples, Stts};

use super::segment::{self, SegmentProblem};
use crate::media::Fps;

/// What the `moov` of the sound says, as far as stitching needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SoundTable {
    /// The decoder's configuration.
    pub(super) description: Stsd,
    /// Ticks a second: one for each sample.
    pub(super) timescale: u32,
    /// Size of every packet.
    pub(super) sizes: Vec<u32>,
    /// How long packets last.
    pub(super) durations: Stts,
    /// Ticks at the beginning that are not heard: what the encoder puts in front (its priming).
    pub(super) priming: u64,
    /// Ticks of all packets.
    pub(super) duration: u64,
    /// The packets' bytes in the file, joined where they touch.
    pub(super) ranges: Vec<Range<u64>>,
}

impl SoundTable {
    /// Reads a `moov` box (header included) of a file of `size_bytes`.
    pub(super) fn parse(moov: &[u8], size_bytes: u64) -> Result<Self, SegmentProblem> {
        let moov = Moov::decode(&mut &*moov)
            .map_err(|error| SegmentProblem::Container(error.to_string()))?;
        let [track] = &moov.trak[..] else {
            return Err(SegmentProblem::Tracks(moov.trak.len()));
        };
        let table = &track.mdia.minf.stbl;
        if !matches!(&table.stsd.codecs[..], [Codec::Mp4a(_)]) {
            return Err(SegmentProblem::SoundCodec);
        }
        let sizes = sizes(table)?;
        let entries = &table.stts.entries;
        let packets: u64 = entries.iter().map(|e| u64::from(e.sample_count)).sum();
        let wrong = SegmentProblem::Tables("durations");
        if packets != sizes.len() as u64 || track.mdia.mdhd.timescale == 0 {
            return Err(wrong);
        }
        let duration = entries
            .iter()
            .map(|e| u64::from(e.sample_count) * u64::from(e.sample_delta))
            .sum();
        let edits = track.edts.as_ref().and_then(|edits| edits.elst.as_ref());
        let priming = match edits.map(|edits| &edits.entries[..]) {
            None | Some([]) => 0,
            Some([edit]) => edit.media_time.unwrap_or(0),
            Some(_) => return Err(SegmentProblem::Tables("edits")),
        };
        if priming > duration {
            return Err(wrong);
        }
        Ok(Self {
            description: table.stsd.clone(),
            timescale: track.mdia.mdhd.timescale,
            durations: table.stts.clone(),
            priming,
            duration,
            ranges: segment::ranges(table, &sizes, size_bytes)?,
            sizes,
        })
    }

    /// How many packets are needed to hear everything up to the end of so many frames.
    pub(super) fn packets_before(&self, frames: u64, fps: Fps) -> u64 {
        let packet = self.durations.entries.first().map_or(1, |e| e.sample_delta);
        let ticks = u128::from(frames) * u128::from(self.timescale) * u128::from(fps.denominator())
            / u128::from(fps.numerator())
            + u128::from(self.priming);
        u64::try_from(ticks.div_ceil(u128::from(packet.max(1)))).unwrap_or(u64::MAX)
    }
}

fn sizes(table: &Stbl) -> Result<Vec<u32>, SegmentProblem> {
    match &table.stsz.samples {
        StszSamples::Different { sizes } => Ok(sizes.clone()),
        // A count alone is not believed: packets of one size are rare, and a wrong count must not fill the memory.
        StszSamples::Identical { count, size } if *count < 1 << 24 => {
            Ok(vec![*size; *count as usize])
        }
        StszSamples::Identical { .. } => Err(SegmentProblem::Tables("sizes")),
    }
}

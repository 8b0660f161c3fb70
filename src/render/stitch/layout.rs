//! In which order pictures and sound lie in the output.
//!
//! Without sound, each segment's frames lie together. With sound, about a second of pictures and the sound heard
//! meanwhile take turns, so that a player that reads the file from its beginning never waits for either.

use super::segment::SegmentTable;
use super::sound::SoundTable;
use crate::media::Fps;

/// Which of the output's tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Track {
    Video,
    Sound,
}

/// Samples of one track that lie together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) track: Track,
    /// Frames or packets, at least one.
    pub(super) samples: u32,
    pub(super) bytes: u64,
}

impl Run {
    fn of(track: Track, sizes: &[u32]) -> Self {
        Self {
            track,
            samples: u32::try_from(sizes.len()).unwrap_or(u32::MAX),
            bytes: sizes.iter().copied().map(u64::from).sum(),
        }
    }
}

/// All runs, in the order of the file.
pub(super) fn layout(segments: &[SegmentTable], sound: Option<&SoundTable>, fps: Fps) -> Vec<Run> {
    let Some(sound) = sound else {
        return segments
            .iter()
            .map(|segment| Run::of(Track::Video, &segment.sizes))
            .collect();
    };
    let frames_per_run = fps.numerator().div_ceil(fps.denominator()).max(1) as usize;
    let mut runs = Vec::new();
    let mut frames = 0;
    let mut packets = &sound.sizes[..];
    let mut packets_before = 0;
    for part in segments
        .iter()
        .flat_map(|segment| segment.sizes.chunks(frames_per_run))
    {
        runs.push(Run::of(Track::Video, part));
        frames += part.len() as u64;
        let heard = sound.packets_before(frames, fps);
        let count = usize::try_from(heard.saturating_sub(packets_before)).unwrap_or(usize::MAX);
        let (meanwhile, rest) = packets.split_at(count.min(packets.len()));
        packets_before += meanwhile.len() as u64;
        packets = rest;
        if !meanwhile.is_empty() {
            runs.push(Run::of(Track::Sound, meanwhile));
        }
    }
    if !packets.is_empty() {
        runs.push(Run::of(Track::Sound, packets));
    }
    runs
}

//! Frames → chunks: which frames each invocation renders.
//!
//! The default rule is Remotion Lambda's own (4.0.527), so that a render is cut here as it is cut there: about 75
//! chunks for a short video, rising to 150 at 18 000 frames, and never fewer than 20 frames a chunk. The rule is
//! exact integer arithmetic here; the table in the tests was taken from the official code.

use crate::media::FrameRange;

/// No chunk is shorter than this unless the whole render is.
const FRAMES_PER_CHUNK_MIN: u32 = 5;

/// The shortest chunk that the default rule makes, unless the whole render is shorter.
const FRAMES_PER_CHUNK_DEFAULT_MIN: u64 = 20;

/// The longest chunk that [`ChunkLength::ForWorkers`] makes of a video for which Remotion's rule makes shorter ones: what is lost
/// with a worker that ends, and well within a function's default timeout at two frames a second.
const FRAMES_PER_CHUNK_FEW_MAX: u32 = 100;

/// The most chunks that `--concurrency` can ask for: Remotion's limit of functions for a render.
pub const CONCURRENCY_MAX: u32 = 200;

/// The most chunks of a render. Remotion refuses more than 200 because it starts them all at once; here they wait
/// in a queue, and the limit only keeps the plan itself small.
pub const CHUNKS_MAX: u32 = 10_000;

/// How long the chunks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkLength {
    /// Remotion's rule.
    Default,
    /// Where there are just so many workers, as on one machine: a chunk for each. Remotion's rule cuts for hundreds of
    /// machines, and each further chunk costs the start and the end of an encoder.
    ForWorkers(u32),
    /// `--frames-per-lambda`: this many frames each, the last one what is left.
    Frames(u32),
    /// `--concurrency`: so many chunks, or fewer where they would be too short.
    Chunks(u32),
}

/// A frame range given to one invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Position in the plan, from 0.
    pub index: u32,
    /// The frames, by index in the composition.
    pub frames: FrameRange,
    /// How many of them are shown.
    pub shown: u32,
}

/// The chunks of a render: in order, without gap or overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkPlan {
    frames: FrameRange,
    /// Every n-th frame is shown.
    nth: u32,
    frames_per_chunk: u32,
}

/// The chunks cannot be cut as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkPlanError {
    /// `--frames-per-lambda` is too small.
    #[error("{asked} frames per chunk are too few: this render needs at least {min}")]
    TooFewFrames {
        /// What was asked for.
        asked: u32,
        /// What is possible.
        min: u32,
    },
    /// `--concurrency` is out of range.
    #[error("a concurrency of {0} is out of range: 1 to {CONCURRENCY_MAX} are possible")]
    Concurrency(u32),
    /// There would be too many chunks.
    #[error("{chunks} chunks are too many: at most {CHUNKS_MAX} are possible; ask for longer ones")]
    TooMany {
        /// How many there would be.
        chunks: u32,
    },
}

impl ChunkLength {
    /// Checks what can be told without the number of frames.
    ///
    /// # Errors
    /// No render could be cut so.
    pub fn check(self) -> Result<(), ChunkPlanError> {
        match self {
            Self::Frames(asked @ 0) => Err(ChunkPlanError::TooFewFrames { asked, min: 1 }),
            Self::Chunks(count) if !(1..=CONCURRENCY_MAX).contains(&count) => {
                Err(ChunkPlanError::Concurrency(count))
            }
            Self::Default | Self::ForWorkers(_) | Self::Frames(_) | Self::Chunks(_) => Ok(()),
        }
    }
}

impl ChunkPlan {
    /// Cuts `frames`.
    ///
    /// # Errors
    /// The length asked for is out of range.
    pub fn new(frames: FrameRange, length: ChunkLength) -> Result<Self, ChunkPlanError> {
        Self::of_every_nth(frames, 1, length)
    }

    /// Cuts `frames`, of which every `nth` is shown, from the first one on. Lengths count frames that are shown.
    ///
    /// # Errors
    /// The length asked for is out of range.
    pub fn of_every_nth(
        frames: FrameRange,
        nth: u32,
        length: ChunkLength,
    ) -> Result<Self, ChunkPlanError> {
        length.check()?;
        let nth = nth.max(1);
        let shown = frames.len().div_ceil(nth);
        let min = shown.min(FRAMES_PER_CHUNK_MIN);
        let frames_per_chunk = match length {
            ChunkLength::Default => default_frames_per_chunk(shown).max(min),
            ChunkLength::ForWorkers(count) => {
                let count = count.max(1);
                let rounds = shown.div_ceil(count.saturating_mul(FRAMES_PER_CHUNK_FEW_MAX));
                let even = shown.div_ceil(count.saturating_mul(rounds));
                even.max(default_frames_per_chunk(shown))
            }
            ChunkLength::Frames(asked) if asked < min => {
                return Err(ChunkPlanError::TooFewFrames { asked, min });
            }
            ChunkLength::Frames(asked) => asked,
            ChunkLength::Chunks(count) => shown.div_ceil(count).max(min),
        };
        let plan = Self {
            frames,
            nth,
            frames_per_chunk,
        };
        match plan.len() {
            chunks @ ..=CHUNKS_MAX => {
                debug_assert!(chunks > 0, "a range is never empty");
                Ok(plan)
            }
            chunks => Err(ChunkPlanError::TooMany { chunks }),
        }
    }

    /// The number of chunks, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> u32 {
        self.shown().div_ceil(self.frames_per_chunk)
    }

    /// All frames of the render.
    pub fn frames(&self) -> FrameRange {
        self.frames
    }

    /// How many of them are shown.
    pub fn shown(&self) -> u32 {
        self.frames.len().div_ceil(self.nth)
    }

    /// Frames shown by every chunk but the last.
    pub fn frames_per_chunk(&self) -> u32 {
        self.frames_per_chunk
    }

    /// The chunks in order.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = Chunk> + '_ {
        // Lengths below are bounded by the range itself, so nothing here can overflow.
        (0..self.len()).map(|index| {
            let length = self.frames_per_chunk.saturating_mul(self.nth);
            let start = self.frames.start() + index * length;
            let end = self.frames.end().min(start.saturating_add(length));
            let frames = FrameRange::new(start, end).expect("a chunk begins before the range ends");
            Chunk {
                index,
                frames,
                shown: frames.len().div_ceil(self.nth),
            }
        })
    }
}

/// Remotion's rule for `count` frames: `raw = max(N / concurrency, 20)`, then `ceil(N / ceil(N / raw))`, where the
/// concurrency runs linearly from 75 at no frames to 150 at 18 000.
///
/// With the concurrency as the fraction `(18000 + N) / 240`, `ceil(N / raw)` is `ceil((18000 + N) / 240)` wherever
/// `N / concurrency` is at least 20, that is `240 N >= 20 (18000 + N)`.
fn default_frames_per_chunk(count: u32) -> u32 {
    let frames = u64::from(count);
    let ramp = frames.min(18_000);
    let chunks = if 240 * frames >= FRAMES_PER_CHUNK_DEFAULT_MIN * (18_000 + ramp) {
        (18_000 + ramp).div_ceil(240)
    } else {
        frames.div_ceil(FRAMES_PER_CHUNK_DEFAULT_MIN)
    };
    u32::try_from(frames.div_ceil(chunks)).expect("not longer than the range")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(count: u32, length: ChunkLength) -> (u32, u32) {
        let plan = ChunkPlan::new(FrameRange::new(0, count).unwrap(), length).unwrap();
        (plan.frames_per_chunk(), plan.len())
    }

    #[test]
    fn cuts_lie_before_frames_that_are_shown() {
        let frames = FrameRange::new(3, 30).unwrap();
        let plan = ChunkPlan::of_every_nth(frames, 4, ChunkLength::Frames(5)).unwrap();
        let cut: Vec<_> = plan
            .chunks()
            .map(|c| (c.frames.to_string(), c.shown))
            .collect();
        assert_eq!(cut, [("3-22".to_owned(), 5), ("23-29".to_owned(), 2)]);
        assert_eq!((plan.shown(), plan.len()), (7, 2));
    }

    #[test]
    fn the_default_is_remotions() {
        for (frames, frames_per_chunk, chunks) in [
            (1, 1, 1),
            (19, 19, 1),
            (20, 20, 1),
            (21, 11, 2),
            (40, 20, 2),
            (100, 20, 5),
            (300, 20, 15),
            (900, 20, 45),
            (1_500, 20, 75),
            (1_501, 20, 76),
            (1_800, 22, 82),
            (2_000, 24, 84),
            (3_600, 40, 90),
            (9_000, 80, 113),
            (18_000, 120, 150),
            (54_000, 360, 150),
            (108_000, 720, 150),
        ] {
            assert_eq!(
                plan(frames, ChunkLength::Default),
                (frames_per_chunk, chunks),
                "{frames} frames"
            );
        }
    }

    #[test]
    fn concurrency_is_remotions() {
        for (frames, concurrency, frames_per_chunk, chunks) in [
            (300, 7, 43, 7),
            (10, 200, 5, 2),
            (3, 2, 3, 1),
            (300, 200, 5, 60),
        ] {
            assert_eq!(
                plan(frames, ChunkLength::Chunks(concurrency)),
                (frames_per_chunk, chunks)
            );
        }
    }

    #[test]
    fn few_workers_get_a_chunk_each_and_none_a_long_one() {
        for (frames, workers, frames_per_chunk, chunks) in [
            (150, 1, 75, 2),
            (150, 2, 75, 2),
            (90, 2, 45, 2),
            (30, 4, 15, 2),
            (1_000, 2, 100, 10),
            (250, 2, 63, 4),
            // Remotion's rule where that makes longer ones.
            (30, 2, 15, 2),
            (150, 100, 19, 8),
            (18_000, 2, 120, 150),
        ] {
            assert_eq!(
                plan(frames, ChunkLength::ForWorkers(workers)),
                (frames_per_chunk, chunks),
                "{frames} frames, {workers} workers"
            );
        }
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let frames = FrameRange::new(0, 100_000).unwrap();
        for length in [
            ChunkLength::Frames(4),
            ChunkLength::Frames(0),
            ChunkLength::Frames(9),
            ChunkLength::Chunks(0),
            ChunkLength::Chunks(201),
        ] {
            assert!(ChunkPlan::new(frames, length).is_err(), "{length:?}");
        }
    }

    proptest! {
        #[test]
        fn every_frame_is_in_exactly_one_chunk(
            start in 0_u32..1_000_000,
            count in 1_u32..40_000,
            length in prop_oneof![
                Just(ChunkLength::Default),
                (0_u32..100).prop_map(ChunkLength::ForWorkers),
                (5_u32..10_000).prop_map(ChunkLength::Frames),
                (1_u32..=200).prop_map(ChunkLength::Chunks),
            ],
        ) {
            let frames = FrameRange::new(start, start + count).unwrap();
            let plan = ChunkPlan::new(frames, length).unwrap();
            let mut next = frames.start();
            for (position, chunk) in plan.chunks().enumerate() {
                prop_assert_eq!(chunk.index as usize, position);
                prop_assert_eq!(chunk.frames.start(), next);
                next = chunk.frames.end();
            }
            prop_assert_eq!(next, frames.end());
        }

        #[test]
        fn the_default_is_the_formula_in_floating_point(count in 1_u32..18_000) {
            // Away from exact whole quotients, where binary fractions may fall to either side.
            let frames = f64::from(count);
            let concurrency = (75.0 + 75.0 * frames / 18_000.0).min(150.0);
            let quotient = frames / (frames / concurrency).max(20.0);
            if (quotient - quotient.round()).abs() < 1e-9 {
                return Ok(());
            }
            let expected = (frames / quotient.ceil()).ceil();
            let (frames_per_chunk, _) = plan(count, ChunkLength::Frames(
                default_frames_per_chunk(count).max(count.min(5)),
            ));
            prop_assert!((f64::from(frames_per_chunk) - expected.max(frames.min(5.0))).abs() < 0.5);
        }
    }
}

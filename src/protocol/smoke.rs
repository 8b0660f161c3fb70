//! The built-in composition with which a new version shows that it can render: what it is, and what a video of it must
//! look like. It is flat colours in a grid, so that no font, browser or encoder can make another picture of it.
//!
//! The page that draws it is `worker/smoke/smoke.js`. The first row of cells holds the frame's number in binary, so every
//! frame differs from every other one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Composition, CompositionDefaults};
use crate::digest::Digest;
use crate::media::Fps;

/// The composition's id.
pub const COMPOSITION: &str = "rmx-smoke";
/// Frames: one second.
pub const FRAMES: u32 = 30;
/// Cells in a row.
pub const COLUMNS: u32 = 8;
/// Rows of cells.
pub const ROWS: u32 = 4;

const WIDTH: u32 = 320;
const HEIGHT: u32 = 180;

/// Bytes of one frame's raster: red, green and blue of each cell.
pub const FRAME_BYTES: usize = (COLUMNS * ROWS * 3) as usize;

/// How far a channel may be from nothing or from everything. A cell has thousands of pixels whose mean this is: encoders
/// stay within a few steps of 255, another matrix of colours within some twenty.
const TOLERANCE: u8 = 64;

/// See [`super::WorkerTask::Smoke`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmokeTask {
    /// [`super::PROTOCOL_VERSION`] of the sender.
    pub protocol: u32,
}

/// What came out: the finished video, decoded and scaled down to one pixel for each cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmokeVideo {
    /// All frames in order, [`FRAME_BYTES`] each, in base64.
    pub raster: String,
}

/// A video that is not the one it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmokeMismatch {
    /// It has fewer frames, or more.
    #[error("the video has {found} frames and should have {FRAMES}")]
    FrameCount {
        /// How many it has.
        found: usize,
    },
    /// It shows something else.
    #[error("frame {frame} of the video shows something else than it should (checksum {}, expected {})", found.short(), expected.short())]
    Picture {
        /// The first such frame.
        frame: u32,
        /// Checksum of the whole video's colours.
        found: Digest,
        /// What it should be.
        expected: Digest,
    },
    /// The answer is no video at all.
    #[error("the worker's answer holds no video that can be read")]
    Unreadable,
}

/// The composition as the page describes it.
pub fn composition() -> Composition {
    Composition {
        id: COMPOSITION.to_owned(),
        width: WIDTH,
        height: HEIGHT,
        fps: Fps::new(FRAMES, 1).expect("30 frames a second"),
        duration_in_frames: FRAMES,
        resolved_props: "{}".to_owned(),
        default_props: "{}".to_owned(),
        defaults: CompositionDefaults::default(),
    }
}

/// Three bits: red, green, blue.
fn colour(frame: u32, column: u32, row: u32) -> u8 {
    let number = match (row, column) {
        (0, 0..5) => 7 * (frame >> column & 1),
        _ => (frame + column + 2 * row) % 8,
    };
    u8::try_from(number).unwrap_or_default()
}

/// The colours of every cell of every frame.
fn expected() -> Vec<u8> {
    let cells = (0..FRAMES).flat_map(|frame| {
        (0..ROWS).flat_map(move |row| (0..COLUMNS).map(move |column| colour(frame, column, row)))
    });
    cells.collect()
}

/// One of the eight colours, or a number of its own for what is none of them.
fn quantised(pixel: &[u8]) -> u8 {
    let bits = pixel.iter().enumerate().map(|(index, channel)| {
        match (*channel <= TOLERANCE, *channel >= 255 - TOLERANCE) {
            (true, _) => Some(0),
            (_, true) => Some(1 << index),
            _ => None,
        }
    });
    bits.sum::<Option<u8>>().unwrap_or(u8::MAX)
}

impl SmokeVideo {
    /// A video of these pixels.
    pub fn new(raster: &[u8]) -> Self {
        Self {
            raster: STANDARD.encode(raster),
        }
    }

    /// Requires that it is a video of the composition; the checksum of its colours.
    ///
    /// # Errors
    /// It has another number of frames, or one of them shows something else.
    pub fn verify(&self) -> Result<Digest, SmokeMismatch> {
        let raster = STANDARD.decode(&self.raster);
        let raster = raster.map_err(|_| SmokeMismatch::Unreadable)?;
        let found = raster.len() / FRAME_BYTES;
        if !raster.len().is_multiple_of(FRAME_BYTES) || found != FRAMES as usize {
            return Err(SmokeMismatch::FrameCount { found });
        }
        let shown: Vec<u8> = raster.chunks(3).map(quantised).collect();
        let expected = expected();
        let cells = (COLUMNS * ROWS) as usize;
        let frames = shown.chunks(cells).zip(expected.chunks(cells));
        let (checksum, wanted) = (Digest::of(&shown), Digest::of(&expected));
        match (0..FRAMES)
            .zip(frames)
            .find(|(_, (one, other))| one != other)
        {
            None => Ok(checksum),
            Some((frame, _)) => Err(SmokeMismatch::Picture {
                frame,
                found: checksum,
                expected: wanted,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A perfect video, as an encoder that is a little off would show it.
    fn video(off: u8) -> Vec<u8> {
        let channel = |colour: u8, bit: u8| match colour >> bit & 1 {
            0 => off,
            _ => 255 - off,
        };
        let pixels = expected();
        let channels = pixels
            .iter()
            .flat_map(|colour| [0, 1, 2].map(|bit| channel(*colour, bit)));
        channels.collect()
    }

    #[test]
    fn encoders_may_be_a_little_off_and_the_checksum_stays() {
        let checksum = SmokeVideo::new(&video(0)).verify().unwrap();
        assert_eq!(SmokeVideo::new(&video(40)).verify(), Ok(checksum));
        assert!(SmokeVideo::new(&video(100)).verify().is_err());
    }

    #[test]
    fn every_frame_differs_from_every_other() {
        let expected = expected();
        let frames: std::collections::BTreeSet<_> = expected.chunks(32).collect();
        assert_eq!(frames.len(), 30);
    }

    #[test]
    fn what_is_lost_doubled_out_of_order_or_different_is_noticed() {
        let right = video(8);
        let frames = |order: &[usize]| -> Vec<u8> {
            let frames = order
                .iter()
                .flat_map(|frame| right[frame * FRAME_BYTES..][..FRAME_BYTES].to_vec());
            frames.collect()
        };
        let all: Vec<usize> = (0..30).collect();
        let verify = |raster: &[u8]| SmokeVideo::new(raster).verify();
        assert_eq!(
            verify(&frames(&all[1..])),
            Err(SmokeMismatch::FrameCount { found: 29 })
        );
        assert_eq!(
            verify(&frames(&[])),
            Err(SmokeMismatch::FrameCount { found: 0 })
        );
        let wrong_at = |raster: &[u8]| match verify(raster).unwrap_err() {
            SmokeMismatch::Picture { frame, .. } => frame,
            other => panic!("{other}"),
        };
        let mut order = all.clone();
        order.swap(11, 12);
        assert_eq!(wrong_at(&frames(&order)), 11);
        order = all;
        order[20] = 19;
        assert_eq!(wrong_at(&frames(&order)), 20);
        let mut one_cell = right.clone();
        let last = one_cell.len() - 1;
        one_cell[last] = 128;
        assert_eq!(wrong_at(&one_cell), 29);
        assert_eq!(wrong_at(&vec![0; right.len()]), 0);
        let text = SmokeVideo {
            raster: "no base64!".to_owned(),
        };
        assert_eq!(text.verify(), Err(SmokeMismatch::Unreadable));
    }
}

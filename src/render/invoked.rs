//! What is known of an invocation once it is over: of these a farm's measurement is made.

use serde::Serialize;

use crate::protocol::ChunkTimings;

/// An invocation that has ended, or that nobody listens to any more. Times are milliseconds from the moment when it was asked for,
/// as they are seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Invoked {
    /// Whether its environment had served another one before; nothing if it was never heard of.
    pub warm: Option<bool>,
    /// Until its first message.
    pub started_ms: Option<u64>,
    /// Until its end.
    pub took_ms: u64,
    /// What it made of its chunk. Nothing if it was asked for something else, or if another copy's segment is the one that counts.
    pub segment: Option<Made>,
}

/// A chunk that an invocation has rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Frames in its segment.
    pub frame_count: u32,
    /// Where the worker's time went.
    pub timings: ChunkTimings,
}

impl Invoked {
    /// Until the first picture was there: Lambda's start, the worker's own, browser and page.
    pub fn first_picture_ms(&self) -> Option<u64> {
        let ChunkTimings {
            open_ms: _,
            capture_ms,
            encode_tail_ms,
            upload_ms,
        } = self.segment?.timings;
        Some(
            self.took_ms
                .saturating_sub(capture_ms + encode_tail_ms + upload_ms),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_first_picture_is_what_is_left() {
        let timings = ChunkTimings {
            open_ms: 1_500,
            capture_ms: 3_000,
            encode_tail_ms: 200,
            upload_ms: 100,
        };
        let made = Made {
            frame_count: 20,
            timings,
        };
        let mut invoked = Invoked {
            warm: Some(false),
            started_ms: Some(900),
            took_ms: 6_000,
            segment: Some(made),
        };
        assert_eq!(invoked.first_picture_ms(), Some(2_700));
        invoked.segment = None;
        assert_eq!(invoked.first_picture_ms(), None);
    }
}

//! The frames of a chunk that nobody has taken yet.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::media::FrameRange;

/// Hands out each frame once, in order, a bounded number ahead of the encoder.
#[derive(Debug)]
pub(super) struct Queue {
    next: AtomicU32,
    end: u32,
    /// From one frame that is drawn to the next.
    stride: u32,
    /// A permit for each frame that may be taken now.
    ahead: Semaphore,
    stopped: CancellationToken,
}

impl Queue {
    pub(super) fn new(frames: FrameRange, stride: u32) -> Self {
        Self {
            next: AtomicU32::new(frames.start()),
            end: frames.end(),
            stride,
            ahead: Semaphore::new(0),
            stopped: CancellationToken::new(),
        }
    }

    /// Lets so many further frames be taken.
    pub(super) fn allow(&self, count: usize) {
        self.ahead.add_permits(count);
    }

    /// Takes the next frame; waits while the encoder is behind.
    pub(super) async fn take(&self) -> Option<u32> {
        self.ahead.acquire().await.ok()?.forget();
        self.pop()
    }

    /// Takes the next frame if one may be taken now.
    pub(super) fn try_take(&self) -> Option<u32> {
        self.ahead.try_acquire().ok()?.forget();
        self.pop()
    }

    fn pop(&self) -> Option<u32> {
        let next = self.next.fetch_add(self.stride, Ordering::Relaxed);
        if next < self.end {
            return Some(next);
        }
        self.stop();
        None
    }

    /// No further frame can be taken, and nobody waits for one.
    pub(super) fn stop(&self) {
        self.ahead.close();
        self.stopped.cancel();
    }

    /// Waits until no further frame can be taken.
    pub(super) async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_taken_in_order_ahead_of_the_encoder_by_so_many_and_once() {
        let queue = Queue::new(FrameRange::new(7, 10).unwrap(), 1);
        assert_eq!(queue.try_take(), None, "none may be taken yet");
        queue.allow(2);
        assert_eq!(queue.take().await, Some(7));
        assert_eq!(queue.try_take(), Some(8));
        assert_eq!(queue.try_take(), None, "two are ahead");
        queue.allow(2);
        assert_eq!(queue.take().await, Some(9));
        assert_eq!(queue.take().await, None);
        assert_eq!(queue.take().await, None, "who asks again is told at once");
    }

    #[tokio::test]
    async fn of_every_third_frame_the_last_one_is_within_the_chunk() {
        let queue = Queue::new(FrameRange::new(10, 17).unwrap(), 3);
        queue.allow(9);
        let mut taken = Vec::new();
        while let Some(frame) = queue.try_take() {
            taken.push(frame);
        }
        assert_eq!(taken, [10, 13, 16]);
        queue.stopped().await;
    }

    #[tokio::test]
    async fn who_waits_for_a_frame_is_told_that_there_is_none_left() {
        let queue = Queue::new(FrameRange::new(0, 1).unwrap(), 1);
        queue.allow(1);
        assert_eq!(queue.take().await, Some(0));
        let (waiting, ()) = tokio::join!(queue.take(), async { queue.stop() });
        assert_eq!(waiting, None);
    }
}

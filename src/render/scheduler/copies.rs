//! A running copy of a chunk: its deadlines, and whether it straggles behind the others.

use super::{ChunkFailure, Limits};

/// A copy counts as slow below this share of the median rate ([`Pace`]).
const SLOW_RATE_PERCENT: u64 = 50;

/// A rate is believed once this share of the chunk is captured.
const BELIEVED_PERCENT: u64 = 20;

/// A copy that has been silent for this long (three heartbeats) may be dead.
const SILENT_STRAGGLER_MS: u64 = 3_000;

/// No copy straggles in its first moments.
const START_STRAGGLER_MS_MIN: u64 = 3_000;

/// Samples kept to tell the usual rate and start from.
const SAMPLES_MAX: usize = 256;

/// A running invocation of a chunk.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) chunk: u32,
    frame_count: u32,
    pub(super) invoked_ms: u64,
    pub(super) started_ms: Option<u64>,
    heard_ms: u64,
    rendered: u32,
}

impl Copy {
    pub(super) fn new(chunk: u32, frame_count: u32, now_ms: u64) -> Self {
        Self {
            chunk,
            frame_count,
            invoked_ms: now_ms,
            started_ms: None,
            heard_ms: now_ms,
            rendered: 0,
        }
    }

    pub(super) fn heard(&mut self, now_ms: u64, rendered: Option<u32>) {
        self.started_ms.get_or_insert(now_ms);
        self.heard_ms = now_ms;
        self.rendered = rendered.unwrap_or(0).clamp(self.rendered, self.frame_count);
    }

    /// Moves its clock on by a time in which nobody listened.
    pub(super) fn excuse(&mut self, absence_ms: u64) {
        self.invoked_ms += absence_ms;
        self.heard_ms += absence_ms;
        self.started_ms = self.started_ms.map(|started_ms| started_ms + absence_ms);
    }

    fn message_deadline_ms(&self, limits: &Limits) -> u64 {
        let patience_ms = match self.started_ms {
            None => limits.first_message_ms,
            Some(_) => limits.silence_ms,
        };
        self.heard_ms.saturating_add(patience_ms)
    }

    fn chunk_deadline_ms(&self, limits: &Limits) -> u64 {
        self.invoked_ms.saturating_add(limits.chunk_ms)
    }

    pub(super) fn next_deadline_ms(&self, limits: &Limits) -> u64 {
        self.message_deadline_ms(limits)
            .min(self.chunk_deadline_ms(limits))
    }

    /// The deadline that has passed, if one has.
    pub(super) fn overdue(&self, now_ms: u64, limits: &Limits) -> Option<ChunkFailure> {
        if now_ms >= self.chunk_deadline_ms(limits) {
            return Some(ChunkFailure::TooLong {
                waited_ms: limits.chunk_ms,
            });
        }
        if now_ms < self.message_deadline_ms(limits) {
            return None;
        }
        Some(match self.started_ms {
            None => ChunkFailure::NeverStarted {
                waited_ms: limits.first_message_ms,
            },
            Some(_) => ChunkFailure::Silent {
                silent_ms: limits.silence_ms,
            },
        })
    }

    /// Frames captured in a thousand seconds, as of the last message; `None` while too few are there to tell.
    fn rate(&self) -> Option<u64> {
        let took_ms = self.heard_ms - self.started_ms?;
        let believed =
            u64::from(self.rendered) * 100 >= u64::from(self.frame_count) * BELIEVED_PERCENT;
        believed.then(|| u64::from(self.rendered) * 1_000_000 / took_ms.max(1))
    }
}

/// What is usual among the copies of this render.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Sorted rates of finished chunks.
    rates: Vec<u64>,
    /// The longest time from an invocation to its first message.
    start_ms_max: Option<u64>,
}

impl Pace {
    pub(super) fn learn_start(&mut self, took_ms: u64) {
        self.start_ms_max = self.start_ms_max.max(Some(took_ms));
    }

    pub(super) fn learn_chunk(&mut self, copy: &Copy, now_ms: u64) {
        let started_ms = copy.started_ms.unwrap_or(copy.invoked_ms);
        let rate = u64::from(copy.frame_count) * 1_000_000 / (now_ms - started_ms).max(1);
        if self.rates.len() < SAMPLES_MAX {
            let position = self.rates.partition_point(|other| *other < rate);
            self.rates.insert(position, rate);
        }
    }

    /// The median rate of finished and running copies; `None` until at least half of them can tell theirs, since
    /// those that can tell first are the fast ones.
    pub(super) fn median_rate<'a>(&self, running: impl Iterator<Item = &'a Copy>) -> Option<u64> {
        let mut rates = self.rates.clone();
        let mut unknown = 0;
        for copy in running {
            match copy.rate() {
                Some(rate) => rates.push(rate),
                None => unknown += 1,
            }
        }
        if rates.len() < unknown {
            return None;
        }
        rates.sort_unstable();
        rates.get(rates.len() / 2).copied()
    }

    /// How long a copy is going to hold the render up, if a twin started now would probably overtake it.
    ///
    /// It must have been silent for some heartbeats, or not be heard of although others took at most half as long to
    /// start, or capture at less than half of the median rate.
    pub(super) fn holds_up_ms(&self, copy: &Copy, median: Option<u64>, now_ms: u64) -> Option<u64> {
        let start_ms = self.start_ms_max?;
        let Some(started_ms) = copy.started_ms else {
            let waited_ms = now_ms - copy.invoked_ms;
            return (waited_ms > (2 * start_ms).max(START_STRAGGLER_MS_MIN)).then_some(u64::MAX);
        };
        if now_ms - copy.heard_ms >= SILENT_STRAGGLER_MS {
            return Some(u64::MAX);
        }
        let median = median?.max(1);
        let twin_ms = start_ms + u64::from(copy.frame_count) * 1_000_000 / median;
        let rate = match copy.rate() {
            Some(rate) if rate * 100 < median * SLOW_RATE_PERCENT => rate,
            // Too few frames to tell a rate, after a time in which others do twice the whole chunk.
            None if now_ms - started_ms > (2 * twin_ms).max(START_STRAGGLER_MS_MIN) => 0,
            Some(_) | None => return None,
        };
        let left = u64::from(copy.frame_count - copy.rendered);
        let remaining_ms = left * 1_000_000 / rate.max(1);
        (remaining_ms > twin_ms).then_some(remaining_ms)
    }
}

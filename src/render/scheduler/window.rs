//! How many copies may run at the same time: all that were asked for, less while the cloud refuses some.
//!
//! Each refused launch takes one place away, but none that is in use: when a burst has been answered, the window is
//! what the cloud takes. (Halving it, as networks do, would give places away that had just been granted.) Launches
//! pause, for longer each time while nothing is accepted; then the window rises step by step for as long as it holds
//! the render up.

use super::Refused;

/// The pause after a refused launch; it doubles while nothing runs.
const PAUSE_MS: u64 = 200;

/// The longest pause. A window of one copy is then still tried six times a minute.
const PAUSE_MS_MAX: u64 = 10_000;

/// The time from one step up to the next.
const RISE_INTERVAL_MS: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Window {
    size: u32,
    size_max: u32,
    /// When the latest launch was refused and why, if none was taken since.
    refused: Option<(u64, Refused)>,
    pause_ms: u64,
    paused_until_ms: u64,
    rise_at_ms: u64,
}

impl Window {
    pub(super) fn new(size_max: u32) -> Self {
        Self {
            size: size_max,
            size_max,
            refused: None,
            pause_ms: 0,
            paused_until_ms: 0,
            rise_at_ms: 0,
        }
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// Why the last launch that was answered was refused, if it was.
    pub(super) fn refusal(&self) -> Option<Refused> {
        self.refused.map(|(_, why)| why)
    }

    /// A launch was refused while `running` others run. Says whether this begins a time of refusals.
    pub(super) fn refused(&mut self, now_ms: u64, running: u32, why: Refused) -> bool {
        let begins = self.refused.is_none();
        self.size = self.size.min((self.size - 1).max(running)).max(1);
        self.refused = Some((now_ms, why));
        // The launches of one batch are refused one by one; they count as one.
        if now_ms >= self.paused_until_ms {
            self.pause_ms = if running == 0 {
                (2 * self.pause_ms).clamp(PAUSE_MS, PAUSE_MS_MAX)
            } else {
                PAUSE_MS
            };
            self.paused_until_ms = now_ms + self.pause_ms;
            self.rise_at_ms = self.paused_until_ms + RISE_INTERVAL_MS;
        }
        begins
    }

    /// A copy that was invoked at `invoked_ms` has been heard of, so it was accepted.
    pub(super) fn heard(&mut self, invoked_ms: u64) {
        if self.refused.is_some_and(|(at_ms, _)| invoked_ms >= at_ms) {
            self.refused = None;
            self.pause_ms = 0;
        }
    }

    /// Takes a step up if it is time and the window holds work up.
    pub(super) fn rise(&mut self, now_ms: u64, running: u32, work_waits: bool) {
        if work_waits
            && running >= self.size
            && self.size < self.size_max
            && now_ms >= self.rise_at_ms
        {
            self.size = (self.size + 1 + self.size / 8).min(self.size_max);
            self.rise_at_ms = now_ms + RISE_INTERVAL_MS;
        }
    }

    pub(super) fn admits(&self, now_ms: u64, running: u32) -> bool {
        running < self.size && now_ms >= self.paused_until_ms
    }

    /// When there may be room, if nothing else happens.
    pub(super) fn room_ms(&self, now_ms: u64, running: u32) -> u64 {
        if running < self.size {
            self.paused_until_ms.max(now_ms)
        } else if self.size < self.size_max {
            self.rise_at_ms.max(now_ms)
        } else {
            u64::MAX
        }
    }
}

//! Whether another browser is worth its start: told by how long pictures are waited for.

use std::time::{Duration, Instant};

/// Pictures after which it can be told how long one takes.
const PICTURES_MIN: u32 = 4;
/// A start is counted at least as this: a browser that was there already began sooner than a new one will.
const START_MIN: Duration = Duration::from_millis(500);
/// How many times its start a browser must save. A start takes processors from the encoder and from the other browsers,
/// and encoders take their first frames faster than they will take the later ones.
const SAVED_MIN: u32 = 3;

/// How long pictures are waited for.
#[derive(Debug)]
pub(super) struct Pace {
    /// From the first question to the first picture: what a browser's start takes.
    opened: Option<Duration>,
    waited: Duration,
    pictures: u32,
    since: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            opened: None,
            waited: Duration::ZERO,
            pictures: 0,
            since: Instant::now(),
        }
    }

    pub(super) fn took(&mut self, waited: Duration) {
        if self.opened.is_none() {
            self.opened = Some(waited);
        } else {
            self.waited += waited;
            self.pictures += 1;
        }
    }

    /// Counts from now on: another browser changes how long pictures take.
    pub(super) fn begin_again(&mut self) {
        (self.waited, self.pictures, self.since) = (Duration::ZERO, 0, Instant::now());
    }

    /// Whether a browser beside `count` others saves more of the waiting for the `left` frames than its start takes.
    /// Where the encoder is what takes long, nobody waits for pictures.
    pub(super) fn another_helps(&self, count: u32, left: u32) -> bool {
        let Some(opened) = self.opened else {
            return false;
        };
        // The one that joined last must have begun to draw.
        let too_soon = count > 1 && self.since.elapsed() < opened * 2;
        if too_soon || self.pictures < PICTURES_MIN {
            return false;
        }
        self.waited / self.pictures * left / (count + 1) > opened.max(START_MIN) * SAVED_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(opened_ms: u64, waited_ms: u64, pictures: u32) -> Pace {
        let mut pace = Pace::new();
        for waited in [opened_ms]
            .into_iter()
            .chain(vec![waited_ms; pictures as usize])
        {
            pace.took(Duration::from_millis(waited));
        }
        pace
    }

    #[test]
    fn another_browser_joins_where_its_start_is_earned_back() {
        // 100 frames at 70 ms: half of 7 s is more than three times the second that a start takes.
        assert!(pace(1_000, 70, 4).another_helps(1, 100));
        assert!(
            !pace(10, 10, 4).another_helps(1, 100),
            "a new browser takes longer"
        );
        assert!(
            !pace(1_000, 70, 4).another_helps(1, 30),
            "it comes too late"
        );
        assert!(
            !pace(1_000, 2, 4).another_helps(1, 100),
            "the encoder is what takes long"
        );
        assert!(
            !pace(1_000, 70, 3).another_helps(1, 100),
            "too little is known"
        );
        assert!(!Pace::new().another_helps(1, 100));
        let mut again = pace(1_000, 70, 4);
        again.begin_again();
        assert!(!again.another_helps(2, 100), "the second has not begun");
    }
}

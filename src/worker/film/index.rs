//! When the frames of a film are shown: read from its container, nothing is decoded for it.

use std::io;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::input::Input;
use crate::worker::failure::Cause;
use crate::worker::tools::{NO_CONTAINER, Tools};
use crate::worker::words::{ended, words_of};

/// More frames than a day of film has.
const FRAMES_MAX: usize = 10_000_000;
const STDERR_BYTES_MAX: u64 = 64 * 1024;

/// A time is that of a frame even if it is so much too early: pages compute in floating point, and containers round to
/// milliseconds.
const EARLY_S: f64 = 0.0015;

/// When which frame is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Index {
    /// ffmpeg's name of the codec.
    pub(super) codec: String,
    /// Whether its brightness goes beyond that of usual screens (PQ or HLG).
    pub(super) is_hdr: bool,
    /// Seconds from the film's beginning at which frames begin, ascending, at least one.
    shown_at: Vec<f64>,
    /// What ffmpeg finds wrong with the file, if anything: it may have been cut off.
    pub(super) fault: Option<String>,
}

impl Index {
    /// The number of the frame that is shown at `time_s`.
    pub(super) fn frame_at(&self, time_s: f64) -> usize {
        let begun = self.shown_at.partition_point(|at| *at <= time_s + EARLY_S);
        begun.saturating_sub(1)
    }

    /// When the frame `number` begins.
    pub(super) fn begin_of(&self, number: usize) -> f64 {
        self.shown_at[number.min(self.shown_at.len() - 1)]
    }

    /// Whether the last frame would be over at `time_s`, if it were shown as long as the one before it.
    pub(super) fn is_over_at(&self, time_s: f64) -> bool {
        match self.shown_at[..] {
            [.., before, last] => time_s + EARLY_S >= last + (last - before),
            _ => false,
        }
    }

    /// A time between the frame before `number` and that frame, from which a decoder has it first.
    pub(super) fn before(&self, number: usize) -> f64 {
        match number.checked_sub(1) {
            Some(before) => (self.shown_at[before] + self.shown_at[number]) / 2.0,
            None => 0.0,
        }
    }
}

/// Reads the index of the first film track of `input`.
///
/// # Errors
/// What ffmpeg says of a file without one.
pub(super) async fn read(tools: &Tools, input: &Input) -> Result<Index, Cause> {
    let starting = |error: std::io::Error| Cause::passing(format!("starting ffmpeg: {error}"));
    let mut child = input
        .ffmpeg(tools, &["-hide_banner", "-nostats", "-v", "level+info"])
        .await
        .map_err(starting)?
        .args(["-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(starting)?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Cause::passing("a pipe of ffmpeg is missing"));
    };
    let words = words_of(stderr, STDERR_BYTES_MAX);
    let (lines, words) = tokio::join!(parse(BufReader::new(stdout).lines()), words);
    let reading = |error: io::Error| Cause::passing(format!("reading its frames: {error}"));
    let (codec, shown_at) = lines.map_err(reading)?;
    let ended = ended(child.wait().await.map_err(reading)?, &words);
    let was_killed = ended.as_ref().is_err_and(|cause| cause.passing);
    if shown_at.is_empty() && !was_killed {
        let mut lines = words.lines().rev().map(|line| told(line).1.trim());
        let last = match words.contains(NO_CONTAINER) {
            true => "it is a playlist, or in a container that films cannot have",
            false => lines
                .find(|line| !line.is_empty())
                .unwrap_or("it has no frames"),
        };
        return Err(Cause::lasting(format!("it is no film: {last}")));
    }
    // The frames behind that point would all be the last one before it.
    ended?;
    let is_hdr = words
        .lines()
        .filter(|line| line.contains("Video:"))
        .any(|line| line.contains("smpte2084") || line.contains("arib-std-b67"));
    let fault = words.lines().map(told).find(|(is_error, _)| *is_error);
    Ok(Index {
        codec,
        is_hdr,
        shown_at,
        fault: fault.map(|(_, text)| text.to_owned()),
    })
}

/// Whether a line of ffmpeg's tells of an error, and what it says behind its level.
fn told(line: &str) -> (bool, &str) {
    let behind = |level| line.split_once(level).map(|(_, text)| text);
    match behind("[error] ").or_else(|| behind("[fatal] ")) {
        Some(text) => (true, text),
        None => (false, behind("[info] ").unwrap_or(line)),
    }
}

/// Codec and times of ffmpeg's `framecrc` format: a header of `#` lines, then a line a packet, with its times in ticks.
async fn parse(
    mut lines: tokio::io::Lines<impl tokio::io::AsyncBufRead + Unpin>,
) -> io::Result<(String, Vec<f64>)> {
    let mut codec = "unknown codec".to_owned();
    let mut tick_s = 1.0;
    let mut shown_at = Vec::new();
    while let Some(line) = lines.next_line().await? {
        if let Some(name) = line.strip_prefix("#codec_id 0: ") {
            name.trim().clone_into(&mut codec);
        } else if let Some(base) = line.strip_prefix("#tb 0: ") {
            let (numerator, denominator) = base.split_once('/').unwrap_or((base, "1"));
            let number = |text: &str| text.trim().parse::<f64>().unwrap_or(1.0);
            tick_s = number(numerator) / number(denominator);
        } else if !line.starts_with('#')
            && let Some(ticks) = line.split(',').nth(2)
            && let Ok(ticks) = ticks.trim().parse::<f64>()
            && (ticks * tick_s).is_finite()
            && shown_at.len() < FRAMES_MAX
        {
            shown_at.push(ticks * tick_s);
        }
    }
    shown_at.sort_by(f64::total_cmp);
    Ok((codec, shown_at))
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// What ffmpeg says of a film's frames: every time has a frame.
    pub(crate) fn film_times(mut case: crate::fuzzing::Case<'_>) {
        let time_s = f64::from_bits(case.number());
        told(&String::from_utf8_lossy(case.0));
        let parsed = futures::executor::block_on(parse(case.0.lines()));
        let (codec, shown_at) = match parsed {
            Ok(parsed) if !parsed.1.is_empty() && time_s.is_finite() => parsed,
            _ => return,
        };
        assert!(shown_at.iter().all(|at| at.is_finite()), "{shown_at:?}");
        assert!(shown_at.is_sorted(), "{shown_at:?}");
        let count = shown_at.len();
        let index = Index {
            codec,
            is_hdr: false,
            shown_at,
            fault: None,
        };
        let number = index.frame_at(time_s);
        assert!(number < count, "{number} of {count}");
        let begin = index.begin_of(number);
        assert!(number == 0 || begin <= time_s + EARLY_S, "{begin} {time_s}");
        let before = index.before(number);
        assert!(number == 0 || before <= begin || before.is_infinite());
        index.is_over_at(time_s);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_read_each_time_has_a_frame_of_the_film(
            lines in prop::collection::vec("#tb 0: [0-9]{0,3}/?[0-9]{0,3}|#codec_id 0: \\PC{0,9}|[0-9]*, ?-?[0-9]{0,20}, ?-?[0-9]{0,25},\\PC{0,9}|\\PC{0,20}", 0..30),
            time_s in -1e9..1e9_f64,
        ) {
            let text = lines.join("\n");
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let parsed = runtime.block_on(parse(BufReader::new(text.as_bytes()).lines()));
            let (codec, shown_at) = parsed.unwrap();
            let count = shown_at.len();
            let index = Index { codec, is_hdr: false, shown_at, fault: None };
            if count > 0 {
                let number = index.frame_at(time_s);
                prop_assert!(number < count);
                let _ = (index.before(number), index.begin_of(number));
                let _ = index.is_over_at(time_s);
            }
        }
    }
}

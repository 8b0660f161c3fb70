//! What is seen of a running render: bars on a terminal, a line now and then elsewhere, events with `--json`.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::foreign::{lines, one_line};
use crate::cli::ui::{Style, Ui};
use crate::env;
use crate::media::{Codec, FrameRange};
use crate::names::RenderId;
use crate::protocol::{CompositionDefaults, EncodeSettings};
use crate::render::scheduler::{Note, Refused};
use crate::render::{CaptureReport, Progress, RenderEvent};

use super::options::{LogLevel, PageArgs};

/// Plain lines and JSON events come at most this often.
const INTERVAL: Duration = Duration::from_secs(1);

/// A plain line comes after this share of the frames, or after [`LINE_PATIENCE`].
const LINE_PERCENT: u32 = 10;

/// The longest time without a plain line.
const LINE_PATIENCE: Duration = Duration::from_secs(30);

/// An estimate is shown once this share of the frames is there.
const ESTIMATE_PERCENT: u32 = 3;

enum Mode {
    Json,
    Bars(Box<Bars>),
    Lines,
    Quiet,
}

/// See the module's documentation.
pub(in crate::cli) struct View {
    ui: Ui,
    mode: Mode,
    log: LogLevel,
    cancel: CancellationToken,
    began: Instant,
    planned: bool,
    /// When the first frame of this run came, and how many there were before.
    first: Option<(Instant, u32)>,
    said: Option<(Instant, u32)>,
    /// Standard output is closed; the render is being cancelled.
    failure: Option<CommandError>,
}

struct Bars {
    all: MultiProgress,
    frames: ProgressBar,
    encoded: ProgressBar,
    chunks: ProgressBar,
    stitch: ProgressBar,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let bar = |name: &'static str| {
            let style =
                ProgressStyle::with_template("{prefix:>9} [{bar:32}] {pos:>6}/{len:<6} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> ");
            let bar = all.add(ProgressBar::new(0).with_style(style));
            bar.set_prefix(name);
            bar
        };
        Self {
            frames: bar("frames"),
            encoded: bar("encoded"),
            chunks: bar("chunks"),
            stitch: bar("stitched"),
            all,
        }
    }
}

impl View {
    pub(in crate::cli) fn new(
        context: &Context,
        page: &PageArgs,
        cancel: &CancellationToken,
    ) -> Self {
        let ui = context.ui.clone();
        let mode = if ui.json() {
            Mode::Json
        } else if page.quiet {
            Mode::Quiet
        } else if ui.shows_progress_bars() {
            Mode::Bars(Box::new(Bars::new()))
        } else {
            Mode::Lines
        };
        Self {
            ui,
            mode,
            log: page.log,
            cancel: cancel.clone(),
            began: Instant::now(),
            planned: false,
            first: None,
            said: None,
            failure: None,
        }
    }

    pub(in crate::cli) fn begin(&mut self, composition: &str, id: &RenderId, resumes: bool) {
        let what = if resumes {
            "Taking up render"
        } else {
            "Render"
        };
        self.say(
            "render_begin",
            &format!("{what} {id}: {composition}"),
            json!({ "render_id": id, "composition": composition, "resumed": resumes }),
        );
    }

    /// The id, if the render has got so far that it can be taken up.
    pub(super) fn resumable<'a>(&self, id: &'a RenderId) -> Option<&'a RenderId> {
        self.planned.then_some(id)
    }

    /// Takes the bars away.
    ///
    /// # Errors
    /// Standard output could not be written to; the render was cancelled for that.
    pub(in crate::cli) fn end(&mut self) -> Result<(), CommandError> {
        if let Mode::Bars(bars) = &self.mode {
            drop(bars.all.clear());
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// A line for people, or an event for programs.
    fn say(&mut self, kind: &str, text: &str, fields: Value) {
        match &self.mode {
            Mode::Json => {
                if let Err(error) = self.ui.print_json(&event(kind, text.to_owned(), fields)) {
                    self.cancel.cancel();
                    self.failure.get_or_insert(error);
                }
            }
            Mode::Bars(bars) => drop(bars.all.println(text)),
            Mode::Lines => self.ui.say(text),
            Mode::Quiet => {}
        }
    }

    pub(in crate::cli) fn show(&mut self, event: &RenderEvent<'_>) {
        match event {
            RenderEvent::Planned {
                composition,
                chunks,
                codec,
                encode,
            } => {
                self.planned = true;
                let cut = match chunks.len() {
                    1 => "one chunk".to_owned(),
                    count => format!("{count} chunks of up to {}", chunks.frames_per_chunk()),
                };
                let text = format!(
                    "{} x {} at {} frames per second; the frames {} in {cut}",
                    composition.width,
                    composition.height,
                    composition.fps,
                    chunks.frames(),
                );
                let fields = json!({
                    "width": composition.width,
                    "height": composition.height,
                    "fps": composition.fps.to_string(),
                    "frames": chunks.frames().to_string(),
                    "frames_total": chunks.shown(),
                    "chunks": chunks.len(),
                    "frames_per_chunk": chunks.frames_per_chunk(),
                });
                self.say("render_planned", &text, fields);
                self.other_wishes(&composition.defaults, *codec, *encode);
            }
            RenderEvent::Watching { holder } => {
                let text = format!("{holder} works on this render: looking whether it still does");
                self.say("watching", &text, json!({}));
            }
            RenderEvent::Progress(progress) => self.progress(*progress),
            RenderEvent::ChunkDone { chunk, took_ms } => {
                if matches!(self.mode, Mode::Json) {
                    let text = format!("Chunk {} is done", chunk.frames);
                    let fields = json!({
                        "chunk": chunk.index,
                        "frames": chunk.frames.to_string(),
                        "took_ms": took_ms,
                    });
                    self.say("chunk_complete", &text, fields);
                }
            }
            // The counts say how many there were.
            RenderEvent::ChunkFound { .. } => {}
            // What a measurement is made of, and nothing for people.
            RenderEvent::InvocationEnded(_) => {}
            RenderEvent::Note { frames, note } => self.note(*frames, note),
            RenderEvent::Log {
                frames,
                level,
                text,
            } => self.log(*frames, level, text),
            RenderEvent::Mixing => self.say("mixing", "Mixing the sound", json!({})),
            RenderEvent::Stitching {
                frames,
                frames_total,
            } => self.stitching(*frames, *frames_total),
            RenderEvent::NotCleaned { error } => {
                let text = format!("Warning: the render's objects stay in the bucket: {error}");
                self.say("warning", &text, json!({}));
            }
        }
    }

    /// Says what the composition asks for and does not get.
    fn other_wishes(
        &mut self,
        wishes: &CompositionDefaults,
        codec: Codec,
        encode: Option<&EncodeSettings>,
    ) {
        let mut given = vec![("codec", &wishes.codec, codec.to_string())];
        if let Some(encode) = encode {
            given.extend(encode.pixel_format.map(|pixel_format| {
                (
                    "pixel format",
                    &wishes.pixel_format,
                    pixel_format.to_string(),
                )
            }));
        }
        for (what, wish, given) in given {
            if let Some(wish) = wish.as_ref().filter(|wish| **wish != given) {
                let shown = one_line(wish);
                let text = format!(
                    "Note: the composition's own {what} is {shown}; this video gets {given}"
                );
                self.say("note", &text, json!({ "wish": wish, "given": given }));
            }
        }
    }

    fn progress(&mut self, progress: Progress) {
        let Progress {
            frames_rendered,
            frames_encoded,
            frames_total,
            chunks_done,
            chunks_total,
            running,
            retries,
            backups,
        } = progress;
        let estimate = self.estimate(frames_rendered, frames_total);
        if let Mode::Bars(bars) = &self.mode {
            bars.frames.set_length(u64::from(frames_total));
            bars.frames.set_position(u64::from(frames_rendered));
            bars.frames.set_message(match estimate {
                Some(left) if frames_rendered < frames_total => {
                    format!("about {} left", duration(milliseconds(left)))
                }
                Some(_) | None => String::new(),
            });
            bars.encoded.set_length(u64::from(frames_total));
            bars.encoded.set_position(u64::from(frames_encoded));
            bars.stitch.set_length(u64::from(frames_total));
            bars.chunks.set_length(u64::from(chunks_total));
            bars.chunks.set_position(u64::from(chunks_done));
            bars.chunks
                .set_message(format!("{running} running, {retries} retries"));
            return;
        }
        if !self.is_time(frames_rendered, frames_total) {
            return;
        }
        let percent = u64::from(frames_rendered) * 100 / u64::from(frames_total.max(1));
        let mut text = format!(
            "{percent:>3} %  {frames_rendered}/{frames_total} frames, {chunks_done}/{chunks_total} chunks, \
             {running} running"
        );
        if let Some(left) = estimate.filter(|_| frames_rendered < frames_total) {
            text += &format!(", about {} left", duration(milliseconds(left)));
        }
        let fields = json!({
            "frames_rendered": frames_rendered,
            "frames_encoded": frames_encoded,
            "frames_total": frames_total,
            "chunks_done": chunks_done,
            "chunks_total": chunks_total,
            "running": running,
            "retries": retries,
            "backups": backups,
            "elapsed_ms": milliseconds(self.began.elapsed()),
            "remaining_ms": estimate.map(milliseconds),
        });
        self.say("render_progress", &text, fields);
    }

    /// The time left at the pace since the first frame; nothing until there is a pace to speak of.
    fn estimate(&mut self, rendered: u32, total: u32) -> Option<Duration> {
        if rendered == 0 {
            return None;
        }
        let (since, before) = *self.first.get_or_insert((Instant::now(), rendered));
        let done = rendered - before;
        let enough = u64::from(done) * 100 >= u64::from(total) * u64::from(ESTIMATE_PERCENT);
        if done == 0 || !enough {
            return None;
        }
        Some(
            since
                .elapsed()
                .mul_f64(f64::from(total - rendered) / f64::from(done)),
        )
    }

    /// Whether a line is due: one a second at most, and not for every frame in a log.
    fn is_time(&mut self, rendered: u32, total: u32) -> bool {
        let now = Instant::now();
        let due = match self.said {
            None => rendered > 0,
            Some((_, before)) if rendered == before && rendered == total => false,
            Some((at, before)) => {
                let elapsed = now - at;
                let share = u64::from(rendered - before) * 100 / u64::from(total.max(1));
                let step = share >= u64::from(LINE_PERCENT) || rendered == total;
                match self.mode {
                    Mode::Json => elapsed >= INTERVAL || (rendered == total && before < total),
                    Mode::Bars(_) | Mode::Lines | Mode::Quiet => {
                        elapsed >= LINE_PATIENCE || (step && elapsed >= INTERVAL)
                    }
                }
            }
        };
        if due {
            self.said = Some((now, rendered));
        }
        due
    }

    fn note(&mut self, frames: Option<FrameRange>, note: &Note) {
        let place = frames.map_or_else(|| "The worker".to_owned(), |f| format!("Chunk {f}"));
        let shown_frames = frames.map(|frames| frames.to_string());
        match note {
            Note::Retrying { failure, .. } => {
                let text = lines(&format!("{place}: {failure}; it is tried again"));
                let fields = json!({ "frames": shown_frames, "reason": failure.to_string() });
                self.say("chunk_retry", &text, fields);
            }
            Note::BackedUp { .. } => {
                let text = format!("{place} is slow; a second worker has been set to it");
                self.say("chunk_backup", &text, json!({ "frames": shown_frames }));
            }
            Note::Refused(Refused::Throttled) => {
                let text = "The cloud takes no more invocations at the moment; the rest waits";
                self.say("throttled", text, json!({}));
            }
            Note::Refused(Refused::NotReady) => {
                let text = "The function is being made, changed or woken; the render waits for it";
                self.say("function_not_ready", text, json!({}));
            }
        }
    }

    fn log(&mut self, frames: Option<FrameRange>, level: &str, text: &str) {
        let wanted = match level {
            "error" => LogLevel::Error,
            "warning" => LogLevel::Warn,
            _ => LogLevel::Verbose,
        };
        if wanted > self.log {
            return;
        }
        let style = match wanted {
            LogLevel::Error => Style::Red,
            LogLevel::Warn => Style::Yellow,
            LogLevel::Info | LogLevel::Verbose => Style::Dim,
        };
        let word = self.ui.paint_stderr(style, one_line(level));
        let place = frames.map_or_else(|| "page".to_owned(), |frames| frames.to_string());
        let fields = json!({
            "frames": frames.map(|frames| frames.to_string()),
            "level": level,
            "text": text,
        });
        let text = lines(text);
        self.say("log", &format!("[{place}] {word}: {text}"), fields);
    }

    fn stitching(&mut self, frames: u64, frames_total: u64) {
        match &self.mode {
            Mode::Bars(bars) => {
                bars.stitch.set_length(frames_total);
                bars.stitch.set_position(frames);
            }
            Mode::Json | Mode::Lines if frames == 0 => {
                let fields = json!({ "frames_total": frames_total });
                self.say("stitching", "Stitching", fields);
            }
            Mode::Json | Mode::Lines | Mode::Quiet => {}
        }
    }
}

/// An event for programs, in the frame that all of rmx's JSON has.
pub(in crate::cli) fn event(kind: &str, message: String, fields: Value) -> Value {
    let mut event = json!({
        "@level": "info",
        "@message": message,
        "@module": "rmx",
        "@timestamp": env::timestamp(env::now()),
        "type": kind,
    });
    if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
        event.extend(fields);
    }
    event
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `0.4 s`, `12 s`, `3 min 5 s`.
pub(in crate::cli) fn duration(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        10_000..60_000 => format!("{} s", ms / 1_000),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// `1 chunk`, `8 chunks`.
pub(in crate::cli) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A line of how the frames were captured, if there is anything to say.
pub(in crate::cli) fn captured(report: &CaptureReport) -> String {
    let reason = report.reason.as_deref().unwrap_or("no reason was given");
    let reason = lines(reason);
    match report.word() {
        None => String::new(),
        Some("framebuffer") => "\nframes were read from the browser's framebuffer".to_owned(),
        Some("screenshot") => format!("\nframes were captured as screenshots: {reason}"),
        Some(_) => format!(
            "\nframes of {} were captured as screenshots: {reason}",
            counted(u64::from(report.screenshot_chunks), "chunk", "chunks"),
        ),
    }
}

/// `812 B`, `3.4 kB`, `12.0 MB`.
pub(in crate::cli) fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", tenths(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(duration(420), "0.4 s");
        assert_eq!(duration(61_900), "1 min 1 s");
        assert_eq!(counted(1, "chunk", "chunks"), "1 chunk");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(3_450_000), "3.4 MB");
    }
}

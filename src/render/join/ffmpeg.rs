//! ffmpeg on the machine of whoever renders: it counts frames and copies them from one container into another.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::JoinError;
use crate::media::{Codec, Container};
use crate::render::stitch::{Header, SegmentProblem, SegmentSource, StitchError};

/// How long ffmpeg may take for one file. It copies, so this is a bound and no expectation.
const TIMEOUT: Duration = Duration::from_secs(1_800);

/// What is kept of its last words.
const WORDS_CHARS_MAX: usize = 2_000;

/// The program, and the folder it works in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ffmpeg<'a> {
    pub(super) program: &'a Path,
    pub(super) folder: &'a Path,
}

/// What goes into the output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remux<'a> {
    pub(super) codec: Codec,
    pub(super) container: Container,
    pub(super) header: &'a Header,
    pub(super) gif_loops: Option<u32>,
    pub(super) frame_count: u64,
    /// Whether `pictures` is a list of segments.
    pub(super) is_list: bool,
    pub(super) pictures: &'a Path,
    pub(super) sound: Option<&'a Path>,
    pub(super) output: &'a Path,
}

impl Ffmpeg<'_> {
    /// Fails, naming the chunk, unless the segment at `path` holds its frames.
    pub(super) async fn check_frames(
        &self,
        path: &Path,
        segment: &SegmentSource,
    ) -> Result<(), JoinError> {
        let unusable = |problem| {
            JoinError::Stitch(StitchError::Segment {
                key: segment.key.clone(),
                problem,
            })
        };
        let arguments = ["-map", "0:v", "-c", "copy", "-f", "framecrc", "-"];
        let mut command = self.command();
        command.arg("-i").arg(path).args(arguments);
        let counted = self.run("reading a segment", command).await;
        let counted =
            counted.map_err(|error| unusable(SegmentProblem::Unreadable(error.to_string())))?;
        let lines = counted.stdout.split(|byte| *byte == b'\n');
        let frames = lines.filter(|line| !line.is_empty() && line[0] != b'#');
        let found = frames.count() as u64;
        if found == u64::from(segment.frame_count) {
            return Ok(());
        }
        Err(unusable(SegmentProblem::FrameCount {
            found,
            expected: segment.frame_count,
        }))
    }

    /// Copies pictures and sound into the output.
    pub(super) async fn remux(&self, remux: &Remux<'_>) -> Result<(), JoinError> {
        let mut command = self.command();
        if remux.codec == Codec::Gif {
            // Of images that are decoded, the n-th is shown at n frame durations.
            command.args(["-r", &remux.header.fps.to_string()]);
        }
        if remux.is_list {
            command.args(["-f", "concat"]);
        }
        command.arg("-i").arg(remux.pictures);
        if let Some(sound) = remux.sound {
            command.arg("-i").arg(sound);
        }
        command.args(arguments(remux)).arg(remux.output);
        let what = format!("making a .{} file of the segments", remux.container);
        self.run(&what, command).await.map(|_| ())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(["-hide_banner", "-nostdin", "-v", "error"])
            .current_dir(self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, what: &str, mut command: Command) -> Result<Output, JoinError> {
        let failed = |cause: String| JoinError::Ffmpeg {
            what: what.to_owned(),
            cause,
        };
        let output = tokio::time::timeout(TIMEOUT, command.output()).await;
        let output = output
            .map_err(|_| failed(format!("ffmpeg did not end within {} s", TIMEOUT.as_secs())))?
            .map_err(|error| failed(format!("{}: {error}", self.program.display())))?;
        if output.status.success() {
            return Ok(output);
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let words: String = words.trim().chars().take(WORDS_CHARS_MAX).collect();
        Err(failed(format!(
            "ffmpeg ended with {}\n{words}",
            output.status
        )))
    }
}

/// What ffmpeg is told between its inputs and its output.
fn arguments(remux: &Remux<'_>) -> Vec<String> {
    if remux.codec == Codec::Gif {
        return gif_arguments(remux);
    }
    let mut arguments = words("-map 0:v -c:v copy");
    if remux.is_list {
        // Segments of WebM have times in milliseconds. Frame n is shown at n frame durations, whatever they say.
        let fps = remux.header.fps;
        let (rate, base) = (fps.numerator(), fps.denominator());
        arguments.push("-bsf:v".to_owned());
        arguments.push(format!("setts=ts=round(N*{base}/{rate}/TB)"));
    }
    if remux.sound.is_some() {
        arguments.extend(words("-map 1:a -c:a copy"));
    }
    if remux.codec == Codec::H265 && remux.container != Container::Mkv {
        arguments.extend(words("-tag:v hvc1"));
    }
    if remux.container == Container::Mkv {
        // An encoder of AAC puts 1024 samples in front of the sound. Matroska has no times below 0, so with them everything
        // would begin 21 ms later: they are left out.
        arguments.extend(words("-copypriorss:a 0"));
    }
    if matches!(remux.container, Container::Mp4 | Container::Mov) {
        arguments.extend(words("-movflags +faststart"));
    }
    for (name, text) in &remux.header.tags {
        arguments.push("-metadata".to_owned());
        arguments.push(format!("{name}={text}"));
    }
    arguments.extend(words("-f"));
    arguments.push(remux.container.muxer().to_owned());
    arguments.extend(words("-y"));
    arguments
}

/// One palette for all frames, as the official renderer has it.
fn gif_arguments(remux: &Remux<'_>) -> Vec<String> {
    // In hundredths of a second, as GIF counts. ffmpeg would show the last frame for as long as the one before it.
    let fps = remux.header.fps;
    let shown_at = |frame: u64| {
        let (base, rate) = (u64::from(fps.denominator()), u64::from(fps.numerator()));
        (2 * 100 * frame * base + rate) / (2 * rate)
    };
    let last_for = shown_at(remux.frame_count) - shown_at(remux.frame_count.saturating_sub(1));
    let loops = match remux.gif_loops {
        None => 0,
        Some(0) => -1,
        Some(loops) => i64::from(loops),
    };
    words(&format!(
        "-filter_complex split[v],palettegen,[v]paletteuse -an -c:v gif -loop {loops} -final_delay {last_for} -f gif -y"
    ))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

//! A file → samples, by an ffmpeg that works ahead no further than its pipe is long.

use std::io;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinSet;

use crate::protocol::{FailureKind, Playback};
use crate::worker::failure::{TaskResult, internal, permanent};
use crate::worker::tools::{LOCAL_ONLY, Tools};
use crate::worker::words::{ended, words_of};

/// Bytes of a sample: two channels of 16 bit.
pub(super) const SAMPLE_BYTES: usize = 4;

const STDERR_BYTES_MAX: u64 = 16 * 1024;

/// What ffmpeg (all of 4 to 8) says of a file without the audio stream that was asked for.
const NO_STREAM: &str = "matches no streams";

/// The slowest playback.
const RATE_MIN: f64 = 1e-4;

/// What is taken of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    pub(super) playback: Playback,
    /// The first sample, counted at the speed of the playback.
    pub(super) first: u64,
    /// How many samples, at most.
    pub(super) count: u64,
}

/// A running decoder, or what an ended one has left on the disk.
#[derive(Debug)]
pub(super) struct Decoder {
    samples: Samples,
    /// File and time, for messages.
    name: String,
}

#[derive(Debug)]
enum Samples {
    Running {
        child: Box<Child>,
        stdout: ChildStdout,
        words: JoinSet<String>,
    },
    /// A file, and how much of it was read. It is not kept open: there may be more of them than a function may have open.
    Stored { path: TempPath, read_bytes: u64 },
    /// The decoder has ended.
    Ended,
}

/// How fast and how high, as the official renderer asks ffmpeg for it: a speed outside of what `atempo` does well is
/// reached in several steps.
fn tempo(rate: f64) -> String {
    if (0.5..=2.0).contains(&rate) {
        return format!("atempo={rate:.5}");
    }
    let half = tempo(rate.sqrt());
    format!("{half},{half}")
}

/// Whether ffmpeg's filters can do it at all. What is far too slow or too fast needs more of them than there is room for.
fn can_be_played(playback: &Playback) -> bool {
    let Playback {
        rate,
        tone_frequency,
        ..
    } = playback;
    (RATE_MIN..=1.0 / RATE_MIN).contains(rate) && (RATE_MIN..=2.0).contains(tone_frequency)
}

/// The filters of a cut. Samples are counted from the file's beginning, whatever its first timestamp is.
fn filters(cut: &Cut, sample_rate: u32) -> String {
    let Cut {
        playback,
        first,
        count,
    } = cut;
    let mut filters = format!(
        "aresample={sample_rate}:async=1:first_pts=0,aformat=sample_fmts=s16:channel_layouts=stereo"
    );
    let is_one = |number: f64| (number - 1.0).abs() < 1e-9;
    if !is_one(playback.rate) {
        filters += &format!(",{}", tempo(playback.rate));
    }
    filters += &format!(
        ",atrim=start_sample={first}:end_sample={}",
        first.saturating_add(*count)
    );
    let tone = playback.tone_frequency;
    if !is_one(tone) {
        filters += &format!(
            ",asetrate={sample_rate}*{tone},aresample={sample_rate},{}",
            tempo(1.0 / tone)
        );
    }
    filters
}

impl Decoder {
    /// Decodes `cut` of the file at `path`; `raw` if it holds samples of ours.
    pub(super) async fn start(
        tools: &Tools,
        path: &Path,
        raw: bool,
        cut: &Cut,
        sample_rate: u32,
        name: String,
    ) -> TaskResult<Self> {
        let Playback {
            rate,
            tone_frequency,
            ..
        } = cut.playback;
        if !can_be_played(&cut.playback) {
            let message = format!(
                "{name}: a playback rate of {rate} and a tone frequency of {tone_frequency} cannot be played; the rate must \
                 lie between {RATE_MIN} and {}, the frequency between {RATE_MIN} and 2",
                1.0 / RATE_MIN
            );
            return Err(permanent(FailureKind::Media, message));
        }
        let mut command = tools.ffmpeg_command().await?;
        command.args(["-v", "error", "-nostdin"]).args(LOCAL_ONLY);
        if raw {
            command.args(["-f", "s16le", "-ac", "2", "-ar", &sample_rate.to_string()]);
        }
        let mut child = command
            .arg("-i")
            .arg(path)
            .args(["-map", &format!("0:a:{}", cut.playback.stream)])
            .args(["-af", &filters(cut, sample_rate)])
            .args(["-c:a", "pcm_s16le", "-f", "s16le", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| internal(&format!("{name}: starting its decoder"), error))?;
        let missing = || internal(&name, "a pipe of its decoder is missing");
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let mut words = JoinSet::new();
        words.spawn(words_of(stderr, STDERR_BYTES_MAX));
        let samples = Samples::Running {
            child: Box::new(child),
            stdout,
            words,
        };
        Ok(Self { samples, name })
    }

    /// Lets the decoder run to its end, into the file at `path`.
    pub(super) async fn store(mut self, path: &Path) -> TaskResult<Self> {
        let keeping = format!("{}: keeping what was decoded", self.name);
        if let Samples::Running { stdout, .. } = &mut self.samples {
            let kept = keep(stdout, path).await;
            kept.map_err(|error| internal(&keeping, error))?;
        }
        self.end().await?;
        let path = TempPath::try_from_path(path);
        self.samples = Samples::Stored {
            path: path.map_err(|error| internal(&keeping, error))?,
            read_bytes: 0,
        };
        Ok(self)
    }

    /// Fills `buffer` with samples; less than all of it only at the end.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> TaskResult<usize> {
        let read = match &mut self.samples {
            Samples::Running { stdout, .. } => fill(stdout, buffer).await,
            Samples::Stored { path, read_bytes } => part(path, read_bytes, buffer).await,
            Samples::Ended => Ok(0),
        };
        let filled = read.map_err(|error| {
            internal(&format!("{}: reading what was decoded", self.name), error)
        })?;
        if filled < buffer.len() {
            self.end().await?;
        }
        Ok(filled - filled % SAMPLE_BYTES)
    }

    /// The decoder has ended: was it well? A file without sound is silent, as a muted film is.
    async fn end(&mut self) -> TaskResult<()> {
        let samples = std::mem::replace(&mut self.samples, Samples::Ended);
        let Samples::Running {
            mut child, words, ..
        } = samples
        else {
            return Ok(());
        };
        let status = child.wait().await;
        let status = status
            .map_err(|error| internal(&format!("{}: waiting for its decoder", self.name), error))?;
        let words = words.join_all().await.concat();
        if words.contains(NO_STREAM) {
            return Ok(());
        }
        let operation = format!("{}: it cannot be decoded", self.name);
        ended(status, &words).map_err(|cause| cause.failure(FailureKind::Media, &operation))
    }
}

/// Writes everything into a file.
async fn keep(samples: &mut (impl AsyncRead + Unpin), path: &Path) -> io::Result<()> {
    let mut file = File::create(path).await?;
    tokio::io::copy(samples, &mut file).await?;
    file.flush().await
}

/// Reads until `buffer` is full or there is no more.
async fn fill(samples: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match samples.read(&mut buffer[filled..]).await? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

/// The same from behind the bytes of a file that were read before.
async fn part(path: &Path, read_bytes: &mut u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut file = File::open(path).await?;
    file.seek(io::SeekFrom::Start(*read_bytes)).await?;
    let filled = fill(&mut file, buffer).await?;
    *read_bytes += filled as u64;
    Ok(filled)
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// Whatever can be played has filters that a command line has room for.
    pub(super) fn cut(cut: &Cut) {
        if can_be_played(&cut.playback) {
            let filters = filters(cut, 48_000);
            assert!(filters.len() < 1_000, "{filters}");
        }
    }

    /// What a decoder left on the disk: all of its whole samples are read, however they are asked for.
    pub(crate) fn samples(mut case: crate::fuzzing::Case<'_>) {
        let mut buffer = vec![0; SAMPLE_BYTES * (1 + usize::from(case.byte()))];
        let (mut file, path) = tempfile::NamedTempFile::new()
            .expect("a file can be made")
            .into_parts();
        io::Write::write_all(&mut file, case.0).expect("it can be written");
        let samples = Samples::Stored {
            path,
            read_bytes: 0,
        };
        let mut decoder = Decoder {
            samples,
            name: String::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let mut read = Vec::new();
        runtime.expect("it can be made").block_on(async {
            while let length @ 1.. = decoder.read(&mut buffer).await.expect("it is there") {
                read.extend_from_slice(&buffer[..length]);
            }
        });
        let whole_bytes = case.0.len() - case.0.len() % SAMPLE_BYTES;
        assert_eq!(read, case.0[..whole_bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(rate: f64, tone_frequency: f64) -> Cut {
        Cut {
            playback: Playback {
                rate,
                tone_frequency,
                start_frame: 0.0,
                stream: 0,
            },
            first: 10,
            count: 5,
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_can_be_played_has_filters(
            rate in proptest::num::f64::ANY,
            tone_frequency in proptest::num::f64::ANY,
            first in proptest::num::u64::ANY,
            count in proptest::num::u64::ANY,
        ) {
            let cut = Cut { first, count, ..cut(rate, tone_frequency) };
            if can_be_played(&cut.playback) {
                let filters = filters(&cut, 48_000);
                proptest::prop_assert!(filters.len() < 1_000, "{}", filters);
            }
        }
    }

    #[test]
    fn what_no_filter_can_do_is_not_played() {
        for (rate, tone, can) in [
            (1.0, 1.0, true),
            (RATE_MIN, 2.0, true),
            (0.0, 1.0, false),
            (-1.0, 1.0, false),
            (f64::NAN, 1.0, false),
            (f64::INFINITY, 1.0, false),
            (1.0, 5e-324, false),
            (1.0, 2.1, false),
        ] {
            assert_eq!(
                can_be_played(&cut(rate, tone).playback),
                can,
                "{rate} {tone}"
            );
        }
    }

    #[test]
    fn speed_and_tone_are_those_of_the_official_renderer() {
        let of = |rate, tone| filters(&cut(rate, tone), 48_000);
        assert!(of(1.0, 1.0).ends_with("stereo,atrim=start_sample=10:end_sample=15"));
        assert!(of(1.5, 1.0).contains(",atempo=1.50000,atrim"));
        assert!(of(4.0, 1.0).contains(",atempo=2.00000,atempo=2.00000,atrim"));
        assert!(of(1.0, 0.5).ends_with(",asetrate=48000*0.5,aresample=48000,atempo=2.00000"));
    }
}

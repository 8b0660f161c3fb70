//! The sound of a whole video: what all chunks report is joined, decoded, mixed and encoded once, in one place. However
//! the frames are cut, it comes out the same, and no seam can be heard because there is none.

mod decode;
mod encode;
mod inline;
mod mix;
mod report;
mod timeline;

use std::ops::Range;
use std::path::{Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use self::decode::{Cut, Decoder};
use self::encode::SoundEncoder;
use self::inline::Inline;
use self::mix::Voice;
pub(super) use self::report::{FrameSound, Heard, Report};
use self::timeline::Timeline;
use super::failure::{TaskResult, internal, storage};
use super::media::{MediaFiles, named};
use super::tools::Tools;
use crate::cloud::Cloud;
use crate::protocol::{MediaSource, Playback, SoundLine, SoundTask, SoundTrack};

/// Files that are fetched at the same time.
const FETCHES_MAX: usize = 4;

/// What a voice plays.
#[derive(Debug)]
struct Played {
    source: Origin,
    cut: Cut,
}

#[derive(Debug)]
enum Origin {
    /// A media file.
    File(MediaSource),
    /// Samples that the page made itself, under this name.
    Inline(String, PathBuf),
}

/// Starts decoders.
#[derive(Debug)]
struct Players<'a> {
    tools: &'a Tools,
    files: &'a MediaFiles,
    timeline: Timeline,
    scratch: &'a Path,
}

impl Players<'_> {
    async fn start(&self, played: Played, samples: &Range<u64>) -> TaskResult<Decoder> {
        let name = describe(&played.source, samples, self.timeline);
        let (path, raw) = match played.source {
            Origin::File(source) => (self.files.file(&source).await?, false),
            Origin::Inline(_, path) => (path, true),
        };
        let rate = self.timeline.sample_rate;
        Decoder::start(self.tools, &path, raw, &played.cut, rate, name).await
    }
}

/// Makes the sound that `task` asks for; returns its file, somewhere below `folder`.
pub(super) async fn make(
    tools: &Tools,
    cloud: &Cloud,
    files: &MediaFiles,
    task: &SoundTask,
    folder: &Path,
) -> TaskResult<PathBuf> {
    let timeline = Timeline {
        frames: task.frames,
        fps: task.fps,
        sample_rate: task.encode.sample_rate,
    };
    let (tracks, inline) = read_reports(cloud, task, timeline, folder).await?;
    fetch(files, &tracks).await?;
    let voices = voices(timeline, tracks, inline);
    let mut encoder = SoundEncoder::start(tools, &task.encode, folder).await?;
    let players = Players {
        tools,
        files,
        timeline,
        scratch: folder,
    };
    let mixed = mix::mix(voices, timeline.length(), &players, encoder.input()).await;
    encoder.finish(mixed).await
}

/// The tracks of all chunks, joined, and the samples that pages made themselves.
async fn read_reports(
    cloud: &Cloud,
    task: &SoundTask,
    timeline: Timeline,
    folder: &Path,
) -> TaskResult<(Vec<SoundTrack>, Vec<Inline>)> {
    let mut tracks = Vec::new();
    let mut inline = inline::Collector::new(timeline, folder);
    for key in &task.reports {
        let object = cloud.read_object(&task.bucket, key, None).await;
        let body = object.map_err(|error| storage(&error))?.body;
        let mut lines = BufReader::new(body).lines();
        let reading = |error: std::io::Error| internal(&format!("reading {key}"), error);
        while let Some(line) = lines.next_line().await.map_err(reading)? {
            let line = serde_json::from_str(&line).map_err(|error| reading(error.into()))?;
            match line {
                SoundLine::Track(track) => tracks.push(track),
                SoundLine::Samples(samples) => inline.add(samples)?,
            }
        }
    }
    Ok((report::join(tracks), inline.finish()))
}

/// Brings the files of all tracks, several at a time.
async fn fetch(files: &MediaFiles, tracks: &[SoundTrack]) -> TaskResult<()> {
    let sources: std::collections::BTreeSet<_> = tracks.iter().map(|track| &track.source).collect();
    let fetches: Vec<_> = sources
        .into_iter()
        .map(|source| files.file(source))
        .collect();
    futures::stream::iter(fetches)
        .buffer_unordered(FETCHES_MAX)
        .try_for_each(|_| async { Ok(()) })
        .await
}

/// Everything that is heard, in the order in which it begins.
fn voices(timeline: Timeline, tracks: Vec<SoundTrack>, inline: Vec<Inline>) -> Vec<Voice> {
    let tracks = tracks.into_iter().map(|track| {
        let samples = timeline.samples(&track);
        Voice {
            volumes: timeline.volumes(&track),
            what: Played {
                cut: Cut {
                    playback: track.playback,
                    first: timeline.trim(track.media_frame, &track.playback),
                    count: samples.end - samples.start,
                },
                source: Origin::File(track.source),
            },
            samples,
        }
    });
    let inline = inline.into_iter().map(|inline| Voice {
        volumes: Vec::new(),
        what: Played {
            cut: Cut {
                playback: Playback {
                    rate: 1.0,
                    tone_frequency: inline.tone_frequency,
                    start_frame: 0.0,
                    stream: 0,
                },
                first: 0,
                count: inline.samples.end - inline.samples.start,
            },
            source: Origin::Inline(inline.id, inline.path),
        },
        samples: inline.samples,
    });
    let mut voices: Vec<_> = tracks.chain(inline).collect();
    voices.sort_by_key(|voice| voice.samples.start);
    voices
}

/// File and time, for messages.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn describe(source: &Origin, samples: &Range<u64>, timeline: Timeline) -> String {
    let name = match source {
        Origin::File(source) => named(source),
        Origin::Inline(id, _) => format!("the page's own sound {id}"),
    };
    let seconds = samples.start as f64 / f64::from(timeline.sample_rate);
    format!("playing {name}, heard from {seconds:.2} s of the video on")
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// The reports of all chunks, one behind the other.
    pub(crate) fn reports(case: crate::fuzzing::Case<'_>) {
        let timeline = Timeline {
            frames: crate::media::FrameRange::new(0, 1_000).expect("it has frames"),
            fps: crate::media::Fps::new(30_000, 1_001).expect("it is a rate"),
            sample_rate: 48_000,
        };
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut inline = inline::Collector::new(timeline, folder.path());
        let mut tracks = Vec::new();
        for line in case.0.split(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(SoundLine::Track(track)) => tracks.push(track),
                Ok(SoundLine::Samples(samples)) => drop(inline.add(samples)),
                Err(_) => {}
            }
        }
        let is_whole = |track: &SoundTrack| {
            let counts = track.volumes.iter().map(|(count, _)| u64::from(*count));
            counts.sum::<u64>() == u64::from(track.frames.len())
        };
        let were_whole = tracks.iter().all(is_whole);
        let tracks = report::join(tracks);
        assert!(!were_whole || tracks.iter().all(is_whole), "{tracks:?}");
        let voices = voices(timeline, tracks, inline.finish());
        assert!(voices.is_sorted_by_key(|voice| voice.samples.start));
        for Voice {
            samples,
            volumes,
            what,
        } in voices
        {
            assert!(samples.start <= samples.end, "{samples:?}");
            assert!(volumes.is_sorted_by_key(|(end, _)| *end), "{volumes:?}");
            Self::cut(&what.cut);
            describe(&what.source, &samples, timeline);
        }
    }
}

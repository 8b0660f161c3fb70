//! What a page wants heard: how chunks report it, and the task that makes one sound of all reports.
//!
//! A chunk's report is an object of its own beside the segment: one JSON object ([`SoundLine`]) a line. It is written
//! before the segment is, so a chunk with a segment and without a report is silent.

use serde::{Deserialize, Serialize};

use super::SiteLocation;
use crate::media::{AudioCodec, Container, Fps, FrameRange};
use crate::names::{BucketName, RenderId};

/// One line of a chunk's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoundLine {
    /// A file that is heard during some of the chunk's frames.
    Track(SoundTrack),
    /// Samples that the page made itself, for one frame.
    Samples(SoundSamples),
}

/// A file that is heard during consecutive frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoundTrack {
    /// The page's name for it, the same in every worker.
    pub id: String,
    /// The file.
    pub source: MediaSource,
    /// How it is played.
    pub playback: Playback,
    /// When it is heard: frames of the composition.
    pub frames: FrameRange,
    /// `mediaFrame` of the page contract at the first of them: the position in the media, in frames of the composition.
    pub media_frame: f64,
    /// Loudness, 1 being that of the file: runs of frames with the same one, together as many as `frames`.
    pub volumes: Vec<(u32, f64)>,
}

/// How a file is played.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Playback {
    /// How many times as fast, at the same pitch.
    pub rate: f64,
    /// How many times as high, at the same speed: above 0, at most 2.
    pub tone_frequency: f64,
    /// `audioStartFrame` of the page contract: how much of the media is cut off at its beginning, in frames of the
    /// composition.
    pub start_frame: f64,
    /// Which of the file's audio streams, from 0.
    pub stream: u32,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaSource {
    /// A file of the site, by its path.
    Site(String),
    /// An `http(s):` or `data:` address.
    Url(String),
}

/// Samples that the page made itself, for one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoundSamples {
    /// The page's name for what they belong to.
    pub id: String,
    /// The frame at whose beginning they are heard.
    pub frame: u32,
    /// As [`Playback::tone_frequency`].
    pub tone_frequency: f64,
    /// Two channels, interleaved, 16 bit, little endian, at the render's sample rate; base64.
    pub data: String,
}

/// Make one sound of the reports of all chunks. Answered with [`super::Answer::Sound`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoundTask {
    /// [`super::PROTOCOL_VERSION`] of the sender.
    pub protocol: u32,
    /// Where files of the site are.
    pub site: SiteLocation,
    /// The render.
    pub render_id: RenderId,
    /// All of its frames.
    pub frames: FrameRange,
    /// Their rate.
    pub fps: Fps,
    /// How the sound is encoded.
    pub encode: SoundSettings,
    /// Where reports are and the sound goes.
    pub bucket: BucketName,
    /// Keys of the chunks' reports, in the order of the chunks; silent chunks have none.
    pub reports: Vec<String>,
    /// Key of the sound.
    pub key: String,
}

/// How sound is encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundSettings {
    /// The codec.
    pub codec: AudioCodec,
    /// The kind of file that is made, for the sound alone.
    pub container: Container,
    /// Samples a second.
    pub sample_rate: u32,
    /// As ffmpeg writes it: `320k`. Of no meaning to samples that are not compressed.
    pub bitrate: String,
}

/// Remotion's default.
pub const SAMPLE_RATE_DEFAULT: u32 = 48_000;

/// Remotion's default.
pub const AUDIO_BITRATE_DEFAULT: &str = "320k";

//! Messages between `rmx render` and the workers it invokes.
//!
//! The request is the Lambda event itself: one JSON object with a `type`. Our own routines carry the prefix
//! `rmx.`, so that Remotion's public routines (`start`, `status`, ...) can stand beside them.
//! The reply is streamed: one JSON object ([`WorkerMessage`]) a line, ended by exactly one
//! [`WorkerMessage::Done`] or [`WorkerMessage::Failed`]. A stream that ends without either was cut off:
//! the worker crashed or timed out.

mod encode;
pub mod running;
pub mod smoke;
mod sound;
pub mod texts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::media::{CaptureMethod, Fps, FrameRange, ImageFormat, StillFormat};
use crate::names::{BucketName, RenderId};

pub use encode::{EncodeSettings, Quality, X264_DEFAULT};
pub use sound::{
    AUDIO_BITRATE_DEFAULT, MediaSource, Playback, SAMPLE_RATE_DEFAULT, SoundLine, SoundSamples,
    SoundSettings, SoundTask, SoundTrack,
};

/// Raised whenever a message changes its meaning. A worker refuses a task of another version by name.
pub const PROTOCOL_VERSION: u32 = 8;

/// Lambda gives a function one processor for each so many MB of its memory (Lambda developer guide, "Configure function
/// memory").
pub const PROCESSOR_MEMORY_MB: u32 = 1769;

/// Frames of fewer pixels are not looked for in the browser's memory: other parts of it may hold a few bytes alike.
pub const FRAMEBUFFER_PIXELS_MIN: u32 = 128 * 128;

/// How many browsers a worker with so much memory draws with: one for each whole processor.
pub fn browsers(memory_mb: u32) -> u32 {
    (memory_mb / PROCESSOR_MEMORY_MB).max(1)
}

/// What a worker is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum WorkerTask {
    /// Which rmx and which tools is this? Answered with [`Answer::Info`].
    #[serde(rename = "rmx.info")]
    Info(InfoTask),
    /// List a site's compositions. Answered with [`Answer::Compositions`].
    #[serde(rename = "rmx.compositions")]
    Compositions(PageTask),
    /// Resolve one composition with its input props. Answered with [`Answer::Composition`].
    #[serde(rename = "rmx.resolve")]
    Resolve(ResolveTask),
    /// Render a range of frames into one segment. Answered with [`Answer::Segment`].
    #[serde(rename = "rmx.chunk")]
    Chunk(Box<ChunkTask>),
    /// Make one sound of what the chunks' pages want heard. Answered with [`Answer::Sound`].
    #[serde(rename = "rmx.sound")]
    Sound(Box<SoundTask>),
    /// Render one frame into an image object. Answered with [`Answer::Still`].
    #[serde(rename = "rmx.still")]
    Still(Box<StillTask>),
    /// Render the built-in composition. Answered with [`Answer::Smoke`].
    #[serde(rename = "rmx.smoke")]
    Smoke(smoke::SmokeTask),
}

/// See [`WorkerTask::Info`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoTask {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub protocol: u32,
}

/// Where the page to be rendered lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteLocation {
    /// Objects in a bucket, read with the worker's role and served to Chromium on loopback.
    Bucket(SiteObjects),
    /// A public `http(s)` address of a bundle's folder or of its `index.html`.
    Url(String),
    /// The page within the worker, of the smoke render.
    BuiltIn,
}

/// A site that `rmx apply` uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteObjects {
    /// The bucket.
    pub bucket: BucketName,
    /// Key prefix that ends in `/`, for example `sites/hello/`.
    pub prefix: String,
    /// Key of the site's manifest, which names the digest of every file. Nothing for a site that somebody else uploaded: what it is
    /// made of is what a listing shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_key: Option<String>,
    /// The site's identity: its manifest, or a listing, must say the same. Part of a worker's cache key: same digest, same page.
    pub digest: Digest,
}

/// What every page needs before it can be asked anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageTask {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub protocol: u32,
    /// The page.
    pub site: SiteLocation,
    /// Input props, serialised JSON as Remotion writes it (dates as `remotion-date:`).
    pub input_props: String,
    /// Variables for the page's `process.env`.
    pub environment: BTreeMap<String, String>,
    /// How long a `delayRender` may take, in milliseconds. Remotion's default is 30 000.
    pub timeout_ms: u32,
    /// What the page finds of its browser.
    #[serde(default)]
    pub browser: BrowserSettings,
}

/// What a page finds of its browser, as far as it is for the user to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserSettings {
    /// What the browser calls itself; its own name where absent.
    pub user_agent: Option<String>,
    /// Whether the page is told that a dark colour scheme is preferred.
    pub dark_mode: bool,
    /// Whether servers are trusted whatever their certificates.
    pub ignore_certificate_errors: bool,
    /// Whether the page may read what other origins do not offer to it.
    pub disable_web_security: bool,
}

/// See [`WorkerTask::Resolve`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResolveTask {
    /// The page.
    #[serde(flatten)]
    pub page: PageTask,
    /// The composition's id.
    pub composition: String,
}

/// A composition as the page resolved it: `remotion_calculateComposition` of the page contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Composition {
    /// Its id.
    pub id: String,
    /// Width in CSS pixels, before `scale`.
    pub width: u32,
    /// Height in CSS pixels, before `scale`.
    pub height: u32,
    /// Frames per second.
    pub fps: Fps,
    /// Duration, at least 1.
    pub duration_in_frames: u32,
    /// `serializedResolvedPropsWithCustomSchema`: what the frames are rendered with.
    pub resolved_props: String,
    /// `serializedDefaultPropsWithCustomSchema`.
    pub default_props: String,
    /// What the composition itself prefers; used where the request is silent.
    pub defaults: CompositionDefaults,
}

/// A composition's own preferences, as the page reports them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CompositionDefaults {
    /// `defaultCodec`.
    pub codec: Option<String>,
    /// `defaultOutName`.
    pub out_name: Option<String>,
    /// `defaultVideoImageFormat`.
    pub image_format: Option<String>,
    /// `defaultPixelFormat`.
    pub pixel_format: Option<String>,
    /// `defaultProResProfile`.
    pub pro_res_profile: Option<String>,
    /// `defaultSampleRate`, in hertz.
    pub sample_rate: Option<u32>,
}

/// How frames leave the browser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptureSettings {
    /// How they are taken. A worker that cannot do it takes screenshots and says so in [`Segment::captured`].
    pub method: CaptureMethod,
    /// JPEG or PNG.
    pub image_format: ImageFormat,
    /// JPEG quality, 0 to 100. Remotion's default is 80.
    pub jpeg_quality: u8,
    /// Device scale factor, more than 0 and at most 16. The output is `width * scale` pixels wide.
    pub scale: f64,
    /// Whether sound is left out.
    pub muted: bool,
    /// Samples of sound a second that the page is told.
    pub sample_rate: u32,
}

/// See [`WorkerTask::Chunk`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkTask {
    /// The page.
    #[serde(flatten)]
    pub page: PageTask,
    /// The render this chunk belongs to.
    pub render_id: RenderId,
    /// Index of the chunk within the render.
    pub chunk: u32,
    /// 1 for the first try, also Remotion's `attempt` for the page.
    pub attempt: u32,
    /// The composition, resolved once for the whole render.
    pub composition: Composition,
    /// The frames to render, by index in the composition.
    pub frames: FrameRange,
    /// Only every n-th of these frames goes into the segment, from the first one on. The others are heard.
    pub every_nth_frame: u32,
    /// How frames leave the browser.
    pub capture: CaptureSettings,
    /// How they are encoded. Nothing if only their sound counts: then no picture is taken and the segment is empty.
    pub encode: Option<EncodeSettings>,
    /// Where the segment goes. Written once, by conditional put.
    pub bucket: BucketName,
    /// Key of the segment.
    pub segment_key: String,
    /// Key of the report of what is heard meanwhile, written before the segment unless the chunk is silent.
    pub sound_key: String,
    /// Prefix of the keys of the files that the page emits; frame and name follow. Written before the segment, too.
    pub artifacts_prefix: String,
    /// Report the SHA-256 of every captured frame in [`Segment::frame_digests`] (for comparisons).
    #[serde(default)]
    pub digest_frames: bool,
}

impl ChunkTask {
    /// The distance of frames that are drawn: where sound counts, those between are drawn for it as well.
    pub fn stride(&self) -> u32 {
        if self.capture.muted {
            self.every_nth_frame.max(1)
        } else {
            1
        }
    }

    /// The frames that are drawn, in order.
    pub fn drawn(&self) -> impl Iterator<Item = u32> + use<> {
        self.frames.frames().step_by(self.stride() as usize)
    }

    /// Whether a frame goes into the segment.
    pub fn shows(&self, frame: u32) -> bool {
        (frame - self.frames.start()).is_multiple_of(self.every_nth_frame.max(1))
    }
}

/// See [`WorkerTask::Still`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StillTask {
    /// The page.
    #[serde(flatten)]
    pub page: PageTask,
    /// The render this still belongs to.
    pub render_id: RenderId,
    /// The resolved composition.
    pub composition: Composition,
    /// The frame.
    pub frame: u32,
    /// What it becomes; [`CaptureSettings::image_format`] is of no meaning here.
    pub format: StillFormat,
    /// How it leaves the browser.
    pub capture: CaptureSettings,
    /// Where the image goes.
    pub bucket: BucketName,
    /// Key of the image.
    pub key: String,
    /// As [`ChunkTask::artifacts_prefix`].
    pub artifacts_prefix: String,
}

/// One line of a worker's reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WorkerMessage {
    /// The invocation has begun. Sent at once.
    Started {
        /// Whether this environment had served an invocation before.
        warm: bool,
    },
    /// Still alive: sent at least every [`HEARTBEAT_INTERVAL_MS`], with how far the chunk has come.
    Progress {
        /// Frames captured so far in this chunk.
        rendered: u32,
        /// Frames encoded so far in this chunk.
        encoded: u32,
    },
    /// A line the page wrote to its console, or a warning about the render.
    Log {
        /// `error`, `warning`, `info` or `debug`.
        level: String,
        /// The text, at most 4 kB.
        text: String,
    },
    /// The end: it worked.
    Done {
        /// The answer to the task.
        answer: Box<Answer>,
    },
    /// The end: it did not.
    Failed {
        /// Why.
        failure: TaskFailure,
    },
}

/// The longest silence of a living worker, in milliseconds.
pub const HEARTBEAT_INTERVAL_MS: u64 = 1_000;

/// What a task yields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// See [`WorkerTask::Info`].
    Info(WorkerInfo),
    /// See [`WorkerTask::Compositions`].
    Compositions {
        /// In the page's order.
        compositions: Vec<Composition>,
    },
    /// See [`WorkerTask::Resolve`].
    Composition {
        /// The composition.
        composition: Composition,
    },
    /// See [`WorkerTask::Chunk`].
    Segment(Segment),
    /// See [`WorkerTask::Sound`].
    Sound {
        /// Size of the sound object.
        size_bytes: u64,
    },
    /// See [`WorkerTask::Still`].
    Still {
        /// Size of the image object.
        size_bytes: u64,
        /// Files that the page emitted.
        #[serde(default)]
        artifacts: u32,
    },
    /// See [`WorkerTask::Smoke`].
    Smoke(smoke::SmokeVideo),
}

/// See [`WorkerTask::Info`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// rmx's version.
    pub version: String,
    /// [`PROTOCOL_VERSION`] of the worker.
    pub protocol: u32,
    /// First line of the browser's `--version`.
    pub browser: String,
    /// First line of `ffmpeg -version`.
    pub ffmpeg: String,
}

/// The media file a chunk produced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// The chunk's index.
    pub chunk: u32,
    /// Key of the object.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
    /// Frames in it.
    pub frame_count: u32,
    /// Whether this copy lost the race: the object had been written by an earlier copy of the chunk.
    pub already_there: bool,
    /// How its frames were captured; nothing if only their sound counted.
    pub captured: Option<Captured>,
    /// Files that the page emitted meanwhile.
    #[serde(default)]
    pub artifacts: u32,
    /// Where the worker's time went.
    pub timings: ChunkTimings,
    /// SHA-256 of every captured frame in order, if asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frame_digests: Vec<Digest>,
}

/// How the frames of a chunk were captured: all of them alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The method.
    pub method: CaptureMethod,
    /// Why it is not the one the task named.
    pub reason: Option<String>,
}

/// Where a worker's time went, in milliseconds of wall time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkTimings {
    /// Until the first picture was there: browser, page and that picture; only the picture when they were warm.
    pub open_ms: u64,
    /// From the first picture to the last one.
    pub capture_ms: u64,
    /// From the last captured frame to the finished segment file.
    pub encode_tail_ms: u64,
    /// Upload of the segment.
    pub upload_ms: u64,
}

/// Why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct TaskFailure {
    /// What kind of failure, stable for programs.
    pub kind: FailureKind,
    /// One or more sentences: operation, subject, cause.
    pub message: String,
    /// The frame that was being rendered.
    pub frame: Option<u32>,
    /// The page's stack, source-mapped where a map exists.
    pub stack: Option<String>,
    /// Whether the same task may succeed on another try.
    pub retryable: bool,
}

/// Kinds of failure a worker can report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The task itself is wrong: other protocol version, bad values.
    BadRequest,
    /// The page could not be loaded: missing site, missing `index.html`, HTTP status.
    PageLoad,
    /// A file of the site is not the one the render began with.
    SiteChanged,
    /// The page loaded but does not speak the page contract.
    PageContract,
    /// The page knows no composition of that id.
    UnknownComposition,
    /// The page threw, called `cancelRender`, `alert` or `confirm`.
    PageError,
    /// A `delayRender` was not continued in time.
    DelayRenderTimeout,
    /// The page stopped answering and no reason could be told.
    PageStalled,
    /// The tab crashed (often: out of memory).
    PageCrashed,
    /// Frames cannot be captured by the method that was asked for, and another one is used.
    Capture,
    /// Chromium is missing, did not start, or went away.
    Browser,
    /// ffmpeg is missing, did not start, or failed.
    Encoder,
    /// A media file that the page plays is missing or cannot be decoded.
    Media,
    /// The page asks for something that rmx does not do yet; named in the message.
    Unsupported,
    /// Reading from or writing to S3 failed.
    Storage,
    /// The worker ran out of disk, or another fault of its own.
    Internal,
}

//! What is asked for, checked: first what can be told without the composition, then with it.

mod encode;
mod overrides;
mod size;
mod sound;
mod still;

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::media::{
    CaptureMethod, Codec, Container, Fps, FrameRange, FrameSelection, ImageFormat, PixelFormat,
    SCALES,
};
use crate::protocol::texts::TEXT_BYTES_MAX;
use crate::protocol::{
    BrowserSettings, CaptureSettings, Composition, EncodeSettings, PROTOCOL_VERSION, PageTask,
    SAMPLE_RATE_DEFAULT, SiteLocation,
};

use super::captured;
use super::chunks::{ChunkLength, ChunkPlan, ChunkPlanError};
use super::invocation::TASK_BYTES_MAX;
use super::join::Joining;
use super::stitch::Header;
use super::tags;
pub use encode::EncodeOptions;
pub use overrides::Overrides;
use size::{check_size, make_even, takes_even_sides};
pub(super) use sound::Sound;
pub use sound::SoundOptions;
pub use still::{StillOptions, StillRequest};

/// Remotion's limit.
const GIF_FPS_MAX: f64 = 50.0;

/// Longer props are no input any more, and a browser takes no script of that length.
const PROPS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Remotion's page takes these two seconds off the time that it is given for a `delayRender` (`remotion/delay-render`, as bundled).
const TIMEOUT_TAKEN_OFF_MS: u32 = 2_000;

/// More than a task has beside its page and its composition.
const TASK_FRAME_BYTES: usize = 4_096;

/// The page to be asked, and what it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct PageOptions {
    /// Where the page lies.
    pub site: SiteLocation,
    /// Input props, a JSON object as text.
    pub input_props: String,
    /// Variables for the page's `process.env`.
    pub environment: BTreeMap<String, String>,
    /// How long a `delayRender` may take, and two seconds more.
    pub timeout_ms: u32,
    /// What it finds of its browser.
    pub browser: BrowserSettings,
}

impl PageOptions {
    pub(super) fn task(&self) -> PageTask {
        PageTask {
            protocol: PROTOCOL_VERSION,
            site: self.site.clone(),
            input_props: self.input_props.clone(),
            environment: self.environment.clone(),
            timeout_ms: self.timeout_ms,
            browser: self.browser.clone(),
        }
    }

    fn check(&self) -> Result<(), RequestError> {
        if self.timeout_ms <= TIMEOUT_TAKEN_OFF_MS {
            return Err(RequestError::OutOfRange {
                what: "timeout",
                found: format!("{} ms", self.timeout_ms),
                allowed: "more than 2000 ms, which Remotion takes off it,",
            });
        }
        check_task_size(self.task(), None)
    }
}

/// How frames leave the browser, as far as it was said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CaptureOptions {
    /// How frames are taken; the framebuffer where that gives what was asked for, where absent.
    pub method: Option<CaptureMethod>,
    /// The composition's own wish, then JPEG, where absent.
    pub image_format: Option<ImageFormat>,
    /// JPEG quality, 0 to 100.
    pub jpeg_quality: u8,
    /// Device scale factor, of [`SCALES`].
    pub scale: f64,
    /// Whether sound is left out.
    pub muted: bool,
}

impl CaptureOptions {
    fn check(&self) -> Result<(), RequestError> {
        if self.jpeg_quality > 100 {
            return Err(RequestError::OutOfRange {
                what: "JPEG quality",
                found: self.jpeg_quality.to_string(),
                allowed: "0 to 100",
            });
        }
        if !SCALES.contains(&self.scale) {
            return Err(RequestError::OutOfRange {
                what: "scale",
                found: self.scale.to_string(),
                allowed: "0.001 to 16",
            });
        }
        Ok(())
    }

    fn settle(
        &self,
        method: CaptureMethod,
        image_format: ImageFormat,
        sample_rate: u32,
        muted: bool,
    ) -> CaptureSettings {
        CaptureSettings {
            method,
            image_format,
            jpeg_quality: self.jpeg_quality,
            scale: self.scale,
            muted,
            sample_rate,
        }
    }
}

/// A video to be rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderOptions {
    /// The composition's id.
    pub composition: String,
    /// The page.
    pub page: PageOptions,
    /// Values in place of the composition's own.
    pub overrides: Overrides,
    /// The frames; all where absent.
    pub frames: Option<FrameSelection>,
    /// Only every n-th of them is shown.
    pub every_nth_frame: u32,
    /// How long the chunks are.
    pub chunk_length: ChunkLength,
    /// How frames leave the browser.
    pub capture: CaptureOptions,
    /// How they are encoded.
    pub encode: EncodeOptions,
    /// How their sound is made.
    pub sound: SoundOptions,
    /// Retries of a chunk.
    pub retries_per_chunk: u32,
}

/// [`RenderOptions`] that are right as far as can be told without the composition.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderRequest(RenderOptions);

/// What is asked for cannot be done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// A number is out of range.
    #[error("a {what} of {found} is out of range: {allowed} is possible")]
    OutOfRange {
        /// What it is.
        what: &'static str,
        /// What was given.
        found: String,
        /// What is possible.
        allowed: &'static str,
    },
    /// Two things that were asked for exclude each other.
    #[error("{what} does not go with{with}; possible: {allowed}")]
    Unfit {
        /// Option and value.
        what: String,
        /// With, or without, what it does not go: what follows the word `with`.
        with: String,
        /// What does.
        allowed: String,
    },
    /// A file of sound alone, without sound.
    #[error(
        "the codec {0} makes sound alone, and --muted leaves it out: there would be nothing in the file"
    )]
    Nothing(Codec),
    /// The frames are not all in the composition.
    #[error("the composition `{composition}` has the frames 0-{last}, and {asked} was asked for")]
    Frames {
        /// The composition.
        composition: String,
        /// Its last frame.
        last: u32,
        /// What was asked for.
        asked: String,
    },
    /// The picture would have an impossible size.
    #[error(
        "the video would be {width} x {height} pixels ({base_width} x {base_height} at scale {scale}); {rule}"
    )]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// The composition's width.
        base_width: u32,
        /// The composition's height.
        base_height: u32,
        /// The scale.
        scale: f64,
        /// What is possible.
        rule: &'static str,
    },
    /// Props and environment do not fit into an invocation.
    #[error("{what} has {size_bytes} bytes; a worker can be sent at most {size_bytes_max}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Their size.
        size_bytes: usize,
        /// The limit.
        size_bytes_max: usize,
    },
    /// The chunks cannot be cut as asked.
    #[error(transparent)]
    Chunks(#[from] ChunkPlanError),
}

/// Everything about a render that does not change any more: what all of its chunks are made from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settled {
    pub(super) composition: Composition,
    pub(super) chunks: ChunkPlan,
    pub(super) capture: CaptureSettings,
    /// Why frames are not read from the framebuffer.
    pub(super) no_framebuffer: Option<&'static str>,
    pub(super) codec: Codec,
    /// Nothing if only sound is wanted.
    pub(super) encode: Option<EncodeSettings>,
    pub(super) container: Container,
    pub(super) joining: Joining,
    pub(super) header: Header,
    pub(super) gif_loops: Option<u32>,
    /// Nothing if the video is to be silent.
    pub(super) sound: Option<Sound>,
}

impl RenderRequest {
    /// Checks what can be told without the composition.
    ///
    /// # Errors
    /// A value is out of range.
    pub fn new(options: RenderOptions) -> Result<Self, RequestError> {
        options.page.check()?;
        options.capture.check()?;
        options.chunk_length.check()?;
        options.sound.check()?;
        let EncodeOptions { codec, .. } = options.encode;
        options.encode.check()?;
        options.encode.audio_codec(options.sound.codec)?;
        if options.every_nth_frame == 0 {
            return Err(RequestError::OutOfRange {
                what: "distance of frames",
                found: "0".to_owned(),
                allowed: "1 or more",
            });
        }
        if options.every_nth_frame > 1 && codec.rules().pictures.is_none() {
            return Err(RequestError::Unfit {
                what: format!("--every-nth-frame {}", options.every_nth_frame),
                with: format!(" the codec {codec}, which makes sound alone"),
                allowed: "leaving it out".to_owned(),
            });
        }
        if options.capture.muted && codec.rules().pictures.is_none() {
            return Err(RequestError::Nothing(codec));
        }
        options.overrides.check()?;
        Ok(Self(options))
    }

    /// What was asked for.
    pub fn options(&self) -> &RenderOptions {
        &self.0
    }

    /// Fills in what the composition says, and checks the whole.
    pub(super) fn settle(&self, mut composition: Composition) -> Result<Settled, RequestError> {
        let options = &self.0;
        // No worker needs them to draw.
        composition.default_props.clear();
        check_task_size(options.page.task(), Some(composition.clone()))?;
        options.overrides.apply(&mut composition);
        let all = FrameRange::new(0, composition.duration_in_frames).map_err(|_| {
            RequestError::OutOfRange {
                what: "duration",
                found: "0 frames".to_owned(),
                allowed: "1 frame or more",
            }
        })?;
        let frames = match options.frames {
            None => all,
            Some(asked) => {
                let frames = asked.within(composition.duration_in_frames);
                frames.ok_or_else(|| RequestError::Frames {
                    composition: composition.id.clone(),
                    last: all.last(),
                    asked: asked.to_string(),
                })?
            }
        };
        let fps = self.shown_fps(composition.fps)?;
        let encode = options.encode.settle();
        let container = options.encode.container;
        let scale = options.capture.scale;
        match &encode {
            // libvpx and prores_ks complete the last column and row themselves.
            Some(encode) if encode.codec.rules().pictures.is_some_and(takes_even_sides) => {
                make_even(&mut composition, scale);
                let pixels = encode.pixel_format.unwrap_or(PixelFormat::Yuv444p);
                check_size(&composition, scale, pixels)?;
            }
            Some(_) | None => check_size(&composition, scale, PixelFormat::Yuv444p)?,
        }
        let wished = composition.defaults.image_format.as_deref();
        let wished = wished.and_then(|text| text.parse().ok());
        let image_format = options
            .encode
            .image_format(options.capture.image_format, wished)?;
        let (method, no_framebuffer) = match &encode {
            None => (CaptureMethod::Screenshot, None),
            Some(encode) => captured::method(
                options.capture.method,
                image_format,
                encode.pixel_format,
                [composition.width, composition.height].map(|side| f64::from(side) * scale),
                scale,
            ),
        };
        let audio_codec = options.encode.audio_codec(options.sound.codec)?;
        let audio_codec = audio_codec.filter(|_| !options.capture.muted);
        let wished_rate = composition.defaults.sample_rate;
        let sound = audio_codec.map(|codec| match &encode {
            Some(_) => options.sound.settle(codec, codec.container(), wished_rate),
            // All that there is to be heard is the file.
            None => Sound {
                always: true,
                ..options.sound.settle(codec, container, wished_rate)
            },
        });
        let sample_rate = sound.as_ref().map(|sound| sound.encode.sample_rate);
        Ok(Settled {
            chunks: ChunkPlan::of_every_nth(frames, options.every_nth_frame, options.chunk_length)?,
            capture: options.capture.settle(
                method,
                image_format,
                sample_rate.unwrap_or(SAMPLE_RATE_DEFAULT),
                sound.is_none(),
            ),
            no_framebuffer,
            codec: options.encode.codec,
            encode,
            container,
            joining: self.joining(),
            header: Header {
                fps,
                tags: tags::all(&options.encode.metadata),
            },
            gif_loops: options.encode.gif_loops,
            sound,
            composition,
        })
    }

    /// Frames that are shown a second.
    fn shown_fps(&self, fps: Fps) -> Result<Fps, RequestError> {
        let out_of_range = |allowed| RequestError::OutOfRange {
            what: "frame rate",
            found: format!("{fps} / {}", self.0.every_nth_frame),
            allowed,
        };
        let shown = fps.of_every_nth(self.0.every_nth_frame);
        let shown = shown.map_err(|_| out_of_range("more than 0"))?;
        if self.0.encode.codec == Codec::Gif && shown.as_f64() > GIF_FPS_MAX {
            return Err(out_of_range(
                "at most 50 for a GIF, which counts in hundredths of a second,",
            ));
        }
        Ok(shown)
    }

    /// How its segments become a file.
    pub fn joining(&self) -> Joining {
        let RenderOptions { encode, sound, .. } = &self.0;
        let audio_codec = encode.audio_codec(sound.codec).unwrap_or(None);
        Joining::of(encode.codec, encode.container, audio_codec)
    }

    /// The parts of the request on which its frames depend, each with a digest. Two requests with equal parts make
    /// the same video on the same workers.
    pub(super) fn identity(&self) -> BTreeMap<String, Digest> {
        let RenderOptions {
            composition,
            page,
            overrides,
            frames,
            every_nth_frame,
            chunk_length,
            capture,
            encode,
            sound,
            retries_per_chunk: _,
        } = &self.0;
        [
            ("composition", Digest::of(composition)),
            ("site", Digest::of(json(&page.site))),
            ("props", Digest::of(&page.input_props)),
            ("environment variables", Digest::of(json(&page.environment))),
            ("browser settings", Digest::of(json(&page.browser))),
            ("overrides", Digest::of(format!("{overrides:?}"))),
            (
                "frames",
                Digest::of(format!("{frames:?} {every_nth_frame}")),
            ),
            ("chunk length", Digest::of(format!("{chunk_length:?}"))),
            ("capture settings", Digest::of(format!("{capture:?}"))),
            ("encoder settings", Digest::of(format!("{encode:?}"))),
            ("sound settings", Digest::of(format!("{sound:?}"))),
        ]
        .into_iter()
        .map(|(part, digest)| (part.to_owned(), digest))
        .collect()
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("what has string keys only can be written as JSON")
}

/// What does not go through the bucket must fit into the payload of an invocation.
fn check_task_size(
    mut page: PageTask,
    mut composition: Option<Composition>,
) -> Result<(), RequestError> {
    let resolved = composition.as_mut().map(|it| &mut it.resolved_props);
    for text in [Some(&mut page.input_props), resolved]
        .into_iter()
        .flatten()
    {
        if text.len() > PROPS_BYTES_MAX {
            return Err(RequestError::TooLarge {
                what: "what is given as props, or what they resolve to,",
                size_bytes: text.len(),
                size_bytes_max: PROPS_BYTES_MAX,
            });
        }
        if text.len() > TEXT_BYTES_MAX {
            text.clear();
        }
    }
    let size_bytes = json(&page).len() + json(&composition).len() + TASK_FRAME_BYTES;
    if size_bytes <= TASK_BYTES_MAX {
        return Ok(());
    }
    Err(RequestError::TooLarge {
        what: "a task with these environment variables",
        size_bytes,
        size_bytes_max: TASK_BYTES_MAX,
    })
}

#[cfg(test)]
mod tests;

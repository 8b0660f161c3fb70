//! What is asked for, checked: first what can be told without the composition, then with it.

mod overrides;
mod sound;

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::media::{
    CaptureMethod, Codec, FrameRange, FrameSelection, ImageFormat, PixelFormat, X264Preset,
};
use crate::protocol::{
    CRF_DEFAULT_H264, CaptureSettings, Composition, EncodeSettings, PROTOCOL_VERSION, PageTask,
    SAMPLE_RATE_DEFAULT, SiteLocation, X264_DEFAULT,
};

use super::captured;
use super::chunks::{ChunkLength, ChunkPlan, ChunkPlanError};
use super::invocation::TASK_BYTES_MAX;
pub use overrides::Overrides;
pub(super) use sound::Sound;
pub use sound::SoundOptions;

/// The largest picture libx264 takes is 16384 pixels a side; Chromium's software surface ends there as well.
const SIDE_MAX: u32 = 16_384;

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
    /// How long a `delayRender` may take.
    pub timeout_ms: u32,
}

impl PageOptions {
    pub(super) fn task(&self) -> PageTask {
        PageTask {
            protocol: PROTOCOL_VERSION,
            site: self.site.clone(),
            input_props: self.input_props.clone(),
            environment: self.environment.clone(),
            timeout_ms: self.timeout_ms,
        }
    }

    fn check(&self) -> Result<(), RequestError> {
        if self.timeout_ms == 0 {
            return Err(RequestError::OutOfRange {
                what: "timeout",
                found: "0 ms".to_owned(),
                allowed: "1 ms or more",
            });
        }
        check_task_size(json(&self.task()).len())
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
    /// Device scale factor, 0.5 (Chromium's own least) to 16.
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
        if !(0.5..=16.0).contains(&self.scale) {
            return Err(RequestError::OutOfRange {
                what: "scale",
                found: self.scale.to_string(),
                allowed: "0.5 to 16",
            });
        }
        Ok(())
    }

    fn settle(
        &self,
        method: CaptureMethod,
        image_format: ImageFormat,
        sample_rate: u32,
    ) -> CaptureSettings {
        CaptureSettings {
            method,
            image_format: self.image_format.unwrap_or(image_format),
            jpeg_quality: self.jpeg_quality,
            scale: self.scale,
            muted: self.muted,
            sample_rate,
        }
    }
}

/// How the video is encoded, as far as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// The codec.
    pub codec: Codec,
    /// Constant rate factor. Where absent, what goes with the preset: see [`EncodeOptions::settle`].
    pub crf: Option<u8>,
    /// libx264's preset.
    pub x264_preset: Option<X264Preset>,
    /// Pixel format of the stream.
    pub pixel_format: PixelFormat,
    /// Keyframe distance in frames.
    pub gop_size: Option<u32>,
}

impl EncodeOptions {
    /// Who says nothing gets rmx's default; who says one of preset and rate factor gets Remotion's meaning of it.
    fn settle(&self) -> EncodeSettings {
        let (x264_preset, crf) = match (self.x264_preset, self.crf) {
            (None, None) => X264_DEFAULT,
            (preset, crf) => (
                preset.unwrap_or(X264_DEFAULT.0),
                crf.unwrap_or(CRF_DEFAULT_H264),
            ),
        };
        EncodeSettings {
            codec: self.codec,
            crf,
            x264_preset,
            pixel_format: self.pixel_format,
            gop_size: self.gop_size,
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

/// One frame to be rendered into an image.
#[derive(Debug, Clone, PartialEq)]
pub struct StillOptions {
    /// The composition's id.
    pub composition: String,
    /// The page.
    pub page: PageOptions,
    /// Values in place of the composition's own.
    pub overrides: Overrides,
    /// The frame; negative numbers count from the end.
    pub frame: i64,
    /// How it leaves the browser.
    pub capture: CaptureOptions,
    /// Retries.
    pub retries: u32,
}

/// [`StillOptions`] that are right as far as can be told without the composition.
#[derive(Debug, Clone, PartialEq)]
pub struct StillRequest(StillOptions);

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
        width: f64,
        /// Pixels.
        height: f64,
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
    #[error(
        "props, what they resolve to, and environment variables make a task of {size_bytes} bytes; a worker can be sent at most \
         {size_bytes_max}"
    )]
    TooLarge {
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
    pub(super) encode: EncodeSettings,
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
        let crf_max = match options.encode.codec {
            Codec::H264 => 51,
        };
        if options.encode.crf.is_some_and(|crf| crf > crf_max) {
            return Err(RequestError::OutOfRange {
                what: "crf",
                found: options.encode.crf.unwrap_or_default().to_string(),
                allowed: "0 to 51",
            });
        }
        if options.encode.gop_size == Some(0) {
            return Err(RequestError::OutOfRange {
                what: "keyframe distance",
                found: "0".to_owned(),
                allowed: "1 or more",
            });
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
        check_task_size(json(&options.page.task()).len() + json(&composition).len())?;
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
        check_size(
            &composition,
            options.capture.scale,
            options.encode.pixel_format,
        )?;
        let wished = composition.defaults.image_format.as_deref();
        let wished = wished.and_then(|text| text.parse().ok());
        let image_format = options.capture.image_format.or(wished);
        let image_format = image_format.unwrap_or(ImageFormat::Jpeg);
        let (method, no_framebuffer) = captured::method(
            options.capture.method,
            image_format,
            options.encode.pixel_format,
        );
        let sound = options.sound.settle(composition.defaults.sample_rate);
        Ok(Settled {
            chunks: ChunkPlan::new(frames, options.chunk_length)?,
            capture: options
                .capture
                .settle(method, image_format, sound.encode.sample_rate),
            no_framebuffer,
            encode: options.encode.settle(),
            sound: (!options.capture.muted).then_some(sound),
            composition,
        })
    }

    /// The parts of the request on which its frames depend, each with a digest. Two requests with equal parts make
    /// the same video on the same workers.
    pub(super) fn identity(&self) -> BTreeMap<String, Digest> {
        let RenderOptions {
            composition,
            page,
            overrides,
            frames,
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
            ("overrides", Digest::of(format!("{overrides:?}"))),
            ("frames", Digest::of(format!("{frames:?}"))),
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

impl StillRequest {
    /// Checks what can be told without the composition.
    ///
    /// # Errors
    /// A value is out of range.
    pub fn new(options: StillOptions) -> Result<Self, RequestError> {
        options.page.check()?;
        options.capture.check()?;
        options.overrides.check()?;
        Ok(Self(options))
    }

    /// What was asked for.
    pub fn options(&self) -> &StillOptions {
        &self.0
    }

    /// The composition as it is to be rendered, the frame, and how it leaves the browser.
    pub(super) fn settle(
        &self,
        mut composition: Composition,
    ) -> Result<(Composition, u32, CaptureSettings), RequestError> {
        let options = &self.0;
        composition.default_props.clear();
        check_task_size(json(&options.page.task()).len() + json(&composition).len())?;
        options.overrides.apply(&mut composition);
        let duration = i64::from(composition.duration_in_frames);
        let frame = match options.frame {
            frame @ 0.. => frame,
            from_end => duration.saturating_add(from_end),
        };
        let frame = u32::try_from(frame)
            .ok()
            .filter(|frame| *frame < composition.duration_in_frames)
            .ok_or_else(|| RequestError::Frames {
                composition: composition.id.clone(),
                last: composition.duration_in_frames.saturating_sub(1),
                asked: format!("frame {}", options.frame),
            })?;
        check_size(&composition, options.capture.scale, PixelFormat::Yuv444p)?;
        // Remotion's default for stills.
        let capture = options.capture.settle(
            CaptureMethod::Screenshot,
            ImageFormat::Png,
            SAMPLE_RATE_DEFAULT,
        );
        Ok((composition, frame, capture))
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("what has string keys only can be written as JSON")
}

/// The task must fit into the payload of an invocation.
fn check_task_size(variable_bytes: usize) -> Result<(), RequestError> {
    let size_bytes = variable_bytes + TASK_FRAME_BYTES;
    if size_bytes <= TASK_BYTES_MAX {
        return Ok(());
    }
    Err(RequestError::TooLarge {
        size_bytes,
        size_bytes_max: TASK_BYTES_MAX,
    })
}

/// The sides must be whole numbers of pixels, and even where two pixels share their colour.
fn check_size(
    composition: &Composition,
    scale: f64,
    pixel_format: PixelFormat,
) -> Result<(), RequestError> {
    let width = f64::from(composition.width) * scale;
    let height = f64::from(composition.height) * scale;
    let divisible = |side: f64, by: f64| (side / by - (side / by).round()).abs() < 1e-6;
    let in_range = |side: f64| (1.0..=f64::from(SIDE_MAX)).contains(&side);
    let rule = if !in_range(width) || !in_range(height) {
        "each side must be between 1 and 16384 pixels"
    } else if !divisible(width, 1.0) || !divisible(height, 1.0) {
        "both must be whole numbers: choose another scale"
    } else {
        match pixel_format {
            PixelFormat::Yuv420p if !divisible(width, 2.0) || !divisible(height, 2.0) => {
                "yuv420p needs an even width and height"
            }
            PixelFormat::Yuv422p if !divisible(width, 2.0) => "yuv422p needs an even width",
            PixelFormat::Yuv420p | PixelFormat::Yuv422p | PixelFormat::Yuv444p => return Ok(()),
        }
    };
    let shown = |side: f64| (side * 100.0).round() / 100.0;
    Err(RequestError::Size {
        width: shown(width),
        height: shown(height),
        base_width: composition.width,
        base_height: composition.height,
        scale,
        rule,
    })
}

#[cfg(test)]
mod tests;

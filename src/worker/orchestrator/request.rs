//! A client's request → what the render room takes. What rmx does not do is refused by its name.

use std::str::FromStr;

use super::failure::Failure;
use crate::media::{Codec, ColorSpace, Container, Fps, ImageFormat, StillFormat, X264Preset};
use crate::protocol::{BrowserSettings, SiteLocation};
use crate::render::chunks::ChunkLength;
use crate::render::request::{
    CaptureOptions, EncodeOptions, Overrides, PageOptions, RenderOptions, RenderRequest,
    SoundOptions, StillOptions, StillRequest,
};
use crate::wire::request::{ChromiumOptions, OutName, Start, Still};

/// Remotion's defaults.
const TIMEOUT_MS: u32 = 30_000;
const JPEG_QUALITY: u8 = 80;
const RETRIES: u32 = 1;

/// What is asked for, checked as far as it can be without the composition.
pub(super) fn render_request(
    start: &Start,
    site: SiteLocation,
    input_props: String,
) -> Result<RenderRequest, Failure> {
    refuse(start)?;
    let codec: Codec = required("codec", &start.codec)?;
    let audio_codec = word("audioCodec", start.audio_codec.as_deref())?;
    let muted = start.muted.unwrap_or(false);
    let image_format = start.image_format.as_deref();
    let chunk_length = match (start.frames_per_lambda, start.concurrency) {
        (None, None) => ChunkLength::Default,
        (Some(frames), None) => ChunkLength::Frames(frames),
        (None, Some(chunks)) => ChunkLength::Chunks(chunks),
        (Some(_), Some(_)) => {
            let reason = "it does not go with concurrency; pass one of both";
            return Err(Failure::option("framesPerLambda", reason));
        }
    };
    Ok(RenderRequest::new(RenderOptions {
        composition: start.composition.clone(),
        page: PageOptions {
            site,
            input_props,
            environment: start.env_variables.clone().unwrap_or_default(),
            timeout_ms: timeout_ms(start.timeout_in_milliseconds),
            browser: browser(start.chromium_options.as_ref()),
        },
        overrides: overrides(
            (start.force_width, start.force_height),
            start.force_fps,
            start.force_duration_in_frames,
        )?,
        frames: match start.frame_range {
            None => None,
            Some(range) => Some(
                range
                    .selection()
                    .map_err(|reason| Failure::option("frameRange", reason))?,
            ),
        },
        every_nth_frame: start.every_nth_frame.unwrap_or(1),
        chunk_length,
        capture: CaptureOptions {
            method: None,
            // Where only sound counts no picture is taken.
            image_format: word::<ImageFormat>(
                "imageFormat",
                image_format.filter(|format| *format != "none"),
            )?,
            jpeg_quality: start.jpeg_quality.unwrap_or(JPEG_QUALITY),
            scale: start.scale.unwrap_or(1.0),
            muted,
        },
        encode: EncodeOptions {
            codec,
            container: container(start, codec)?,
            crf: start.crf,
            video_bitrate: start.video_bitrate.clone(),
            buffer_size: start.encoding_buffer_size.clone(),
            max_rate: start.encoding_max_rate.clone(),
            // What goes for these clients is Remotion's default, and not rmx's own.
            x264_preset: word("x264Preset", start.x264_preset.as_deref())?
                .or(codec.is_h264().then_some(X264Preset::Medium)),
            pro_res_profile: word("proResProfile", start.pro_res_profile.as_deref())?,
            pixel_format: word("pixelFormat", start.pixel_format.as_deref())?,
            color_space: word("colorSpace", start.color_space.as_deref())?
                .unwrap_or(ColorSpace::Default),
            gop_size: start.gop_size,
            gif_loops: start.number_of_gif_loops,
            metadata: start.metadata.clone().unwrap_or_default(),
        }
        .without_unknown_tags(),
        sound: SoundOptions {
            codec: audio_codec,
            sample_rate: start.sample_rate,
            bitrate: start.audio_bitrate.clone(),
            // As the official function has it: there is a track unless it was muted.
            always: !muted,
        },
        retries_per_chunk: start.max_retries.unwrap_or(RETRIES),
    })?)
}

/// One frame of what is asked for, checked as far as it can be without the composition.
pub(super) fn still_request(
    still: &Still,
    format: StillFormat,
    site: SiteLocation,
    input_props: String,
) -> Result<StillRequest, Failure> {
    Ok(StillRequest::new(StillOptions {
        composition: still.composition.clone(),
        page: PageOptions {
            site,
            input_props,
            environment: still.env_variables.clone().unwrap_or_default(),
            timeout_ms: timeout_ms(still.timeout_in_milliseconds),
            browser: browser(still.chromium_options.as_ref()),
        },
        overrides: overrides(
            (still.force_width, still.force_height),
            still.force_fps,
            still.force_duration_in_frames,
        )?,
        frame: still.frame.unwrap_or(0),
        format,
        capture: CaptureOptions {
            method: None,
            image_format: None,
            jpeg_quality: still.jpeg_quality.unwrap_or(JPEG_QUALITY),
            scale: still.scale.unwrap_or(1.0),
            // An image has no sound.
            muted: true,
        },
        retries: still.max_retries.unwrap_or(RETRIES),
    })?)
}

fn overrides(
    (width, height): (Option<u32>, Option<u32>),
    fps: Option<f64>,
    duration_in_frames: Option<u32>,
) -> Result<Overrides, Failure> {
    let fps = fps.map(Fps::from_number).transpose();
    Ok(Overrides {
        width,
        height,
        fps: fps.map_err(|error| Failure::option("forceFps", error.to_string()))?,
        duration_in_frames,
    })
}

/// The kind of file: as its name says, else what goes with the codecs.
pub(super) fn container(start: &Start, codec: Codec) -> Result<Container, Failure> {
    let name = match &start.out_name {
        None => None,
        Some(OutName::Name(name)) => Some(name),
        Some(OutName::Place { key, .. }) => Some(key),
    };
    let ending = name.and_then(|name| name.rsplit('/').next()?.rsplit_once('.'));
    match ending {
        None => {
            let audio_codec = word("audioCodec", start.audio_codec.as_deref())?;
            Ok(codec.container_with(audio_codec))
        }
        Some((_, ending)) => Container::of_ending(&ending.to_lowercase()).ok_or_else(|| {
            Failure::option(
                "outName",
                format!("`.{ending}` is not the ending of a video that can be made"),
            )
        }),
    }
}

/// Options that would change what comes out, and that are not done.
fn refuse(start: &Start) -> Result<(), Failure> {
    if start.prefer_lossless == Some(true) {
        return Err(Failure::not_yet(
            "preferLossless",
            "pass `audioCodec: \"pcm-16\"` and a `crf`",
        ));
    }
    if let Some(webhook) = &start.webhook {
        let checked = webhook.check();
        checked.map_err(|reason| Failure::option("webhook", reason))?;
    }
    Ok(())
}

/// How long a `delayRender` may take.
pub(super) fn timeout_ms(asked: Option<u32>) -> u32 {
    asked.unwrap_or(TIMEOUT_MS)
}

/// What the page finds of its browser.
pub(super) fn browser(options: Option<&ChromiumOptions>) -> BrowserSettings {
    let options = options.cloned().unwrap_or_default();
    BrowserSettings {
        user_agent: options.user_agent,
        dark_mode: options.dark_mode.unwrap_or(false),
        ignore_certificate_errors: options.ignore_certificate_errors.unwrap_or(false),
        disable_web_security: options.disable_web_security.unwrap_or(false),
    }
}

fn word<T: FromStr>(option: &'static str, text: Option<&str>) -> Result<Option<T>, Failure>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| required(option, text)).transpose()
}

pub(super) fn required<T: FromStr>(option: &'static str, text: &str) -> Result<T, Failure>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| Failure::option(option, error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::request::Request;

    /// Preset and rate factor of what a client asks for with `more`.
    fn encoder(codec: &str, more: &serde_json::Value) -> (Option<X264Preset>, Option<u8>) {
        let encode = encode(codec, more);
        (encode.x264_preset, encode.crf)
    }

    fn encode(codec: &str, more: &serde_json::Value) -> EncodeOptions {
        let mut payload = json!({
            "type": "start", "version": "4.0.527", "serveUrl": "site", "composition": "a", "codec": codec,
            "inputProps": {"type": "payload", "payload": "{}"}, "privacy": "no-acl",
        });
        let fields = more.as_object().unwrap().clone();
        payload.as_object_mut().unwrap().extend(fields);
        let Ok(Request::Start(start)) = Request::parse("start", payload, "4.0.527") else {
            panic!("not a start");
        };
        let site = SiteLocation::Url("https://example.com".to_owned());
        let request = render_request(&start, site, "{}".to_owned()).unwrap();
        request.options().encode.clone()
    }

    #[test]
    fn tags_that_the_file_does_not_hold_are_left_out_for_clients() {
        let asked = json!({ "metadata": { "Author": "me", "Title": "mine" } });
        let tags = |codec: &str| {
            let tags = encode(codec, &asked).metadata.into_keys();
            tags.collect::<Vec<_>>()
        };
        assert_eq!(tags("h264"), ["Title"]);
        assert_eq!(tags("vp8"), ["Author", "Title"]);
        assert!(tags("mp3").is_empty());
    }

    #[test]
    fn remotions_own_preset_goes_for_its_clients() {
        let preset = |preset: X264Preset| Some(preset);
        assert_eq!(
            encoder("h264", &json!({})),
            (preset(X264Preset::Medium), None)
        );
        let asked = json!({"x264Preset": "veryfast", "crf": 20});
        assert_eq!(
            encoder("h264", &asked),
            (preset(X264Preset::Veryfast), Some(20))
        );
        assert_eq!(encoder("h265", &json!({})), (None, None));
    }
}

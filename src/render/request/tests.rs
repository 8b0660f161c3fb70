//! What is refused, and what the composition fills in.

use super::*;
use crate::media::{AudioCodec, ColorSpace, Fps, ProResProfile, StillFormat, X264Preset};
use crate::protocol::{CompositionDefaults, Quality};

fn options() -> RenderOptions {
    RenderOptions {
        composition: "hello".to_owned(),
        page: PageOptions {
            site: SiteLocation::Url("https://example.com".to_owned()),
            input_props: "{}".to_owned(),
            environment: BTreeMap::new(),
            timeout_ms: 30_000,
            browser: Default::default(),
        },
        overrides: Overrides::default(),
        frames: None,
        every_nth_frame: 1,
        chunk_length: ChunkLength::Default,
        capture: CaptureOptions {
            method: None,
            image_format: None,
            jpeg_quality: 80,
            scale: 1.0,
            muted: false,
        },
        encode: EncodeOptions {
            codec: Codec::H264,
            container: Container::Mp4,
            crf: None,
            video_bitrate: None,
            buffer_size: None,
            max_rate: None,
            x264_preset: None,
            pro_res_profile: None,
            pixel_format: None,
            color_space: ColorSpace::Default,
            gop_size: None,
            gif_loops: None,
            metadata: BTreeMap::new(),
        },
        sound: SoundOptions::default(),
        retries_per_chunk: 1,
    }
}

fn composition() -> Composition {
    Composition {
        id: "hello".to_owned(),
        width: 1280,
        height: 720,
        fps: Fps::new(30, 1).unwrap(),
        duration_in_frames: 90,
        resolved_props: "{}".to_owned(),
        default_props: "{}".to_owned(),
        defaults: CompositionDefaults::default(),
    }
}

/// The error of rendering with `change` made to the usual options.
fn refused(change: impl FnOnce(&mut RenderOptions)) -> String {
    let mut options = options();
    change(&mut options);
    RenderRequest::new(options)
        .and_then(|request| request.settle(composition()))
        .unwrap_err()
        .to_string()
}

#[test]
fn what_is_out_of_range_is_refused() {
    for (error, expected) in [
        (
            refused(|o| o.encode.crf = Some(52)),
            "--crf 52 does not go with the codec h264; possible: 0 to 51",
        ),
        (
            refused(|o| o.capture.jpeg_quality = 101),
            "a JPEG quality of 101 is out of range: 0 to 100 is possible",
        ),
        (
            refused(|o| o.sound.sample_rate = Some(44_000)),
            "a sample rate of 44000 is out of range: what AAC knows, 7350 to 96000, such as 44100 and 48000, is possible",
        ),
        (
            refused(|o| o.sound.bitrate = Some("320".to_owned())),
            "a bit rate of 320 is out of range: a number with K or M behind it, such as 320K, is possible",
        ),
        (
            refused(|o| o.capture.scale = 0.0),
            "a scale of 0 is out of range: 0.001 to 16 is possible",
        ),
        (
            refused(|o| o.capture.scale = f64::NAN),
            "a scale of NaN is out of range: 0.001 to 16 is possible",
        ),
        (
            refused(|o| o.page.timeout_ms = 2_000),
            "a timeout of 2000 ms is out of range: more than 2000 ms, which Remotion takes off it, is possible",
        ),
        (
            refused(|o| o.frames = Some("80-90".parse().unwrap())),
            "the composition `hello` has the frames 0-89, and 80-90 was asked for",
        ),
        (
            refused(|o| o.overrides.width = Some(1)),
            "the video would be 1 x 720 pixels (1 x 720 at scale 1); yuv420p needs an even width and height",
        ),
        (
            refused(|o| {
                o.capture.scale = 0.001;
                (o.encode.codec, o.encode.container) = (Codec::Vp8, Container::Webm);
                o.overrides.height = Some(499);
            }),
            "the video would be 1 x 0 pixels (1280 x 499 at scale 0.001); each side must be between 1 and 16384 pixels",
        ),
        (
            refused(|o| o.capture.scale = 13.01),
            "the video would be 16640 x 9354 pixels (1279 x 719 at scale 13.01); \
             each side must be between 1 and 16384 pixels",
        ),
    ] {
        assert_eq!(error, expected);
    }
}

#[test]
fn what_does_not_go_together_is_refused_with_what_does() {
    let of = |codec, container, change: fn(&mut RenderOptions)| {
        refused(|options| {
            (options.encode.codec, options.encode.container) = (codec, container);
            change(options);
        })
    };
    let (h264, webm, mov) = (Codec::H264, Container::Webm, Container::Mov);
    for (error, expected) in [
        (
            of(h264, webm, |_| {}),
            "the ending .webm does not go with the codec h264; possible: .mp4, .mkv, .mov",
        ),
        (
            of(h264, Container::Mp4, |o| {
                o.sound.codec = Some(AudioCodec::Pcm16);
            }),
            "--audio-codec pcm-16 does not go with the codec h264 in .mp4; possible: aac, mp3",
        ),
        (
            of(h264, Container::Mp4, |o| {
                o.encode.pixel_format = Some(PixelFormat::Yuva420p);
            }),
            "--pixel-format yuva420p does not go with the codec h264; possible: yuv420p, yuv422p, yuv444p, yuv420p10le, \
             yuv422p10le, yuv444p10le",
        ),
        (
            of(h264, Container::Mp4, |o| {
                o.encode.pro_res_profile = Some(ProResProfile::Hq);
            }),
            "--prores-profile hq does not go with the codec h264; possible: leaving it out",
        ),
        (
            of(Codec::ProRes, mov, |o| o.encode.crf = Some(18)),
            "--crf 18 does not go with the codec prores; possible: leaving it out",
        ),
        (
            of(Codec::Vp8, webm, |o| o.encode.crf = Some(3)),
            "--crf 3 does not go with the codec vp8; possible: 4 to 63",
        ),
        (
            of(Codec::Vp8, webm, |o| {
                o.encode.x264_preset = Some(X264Preset::Fast);
            }),
            "--x264-preset fast does not go with the codec vp8; possible: leaving it out",
        ),
        (
            of(Codec::Vp9, webm, |o| {
                o.encode.pixel_format = Some(PixelFormat::Yuva420p);
                o.capture.image_format = Some(ImageFormat::Jpeg);
            }),
            "--image-format jpeg does not go with the pixel format yuva420p, which is transparent; possible: png",
        ),
        (
            of(h264, Container::Mp4, |o| {
                o.encode.crf = Some(18);
                o.encode.video_bitrate = Some("1M".to_owned());
            }),
            "--video-bitrate 1M does not go with --crf 18; possible: one of both",
        ),
        (
            of(h264, Container::Mp4, |o| {
                o.encode.video_bitrate = Some("1000".to_owned());
            }),
            "a video bit rate of 1000 is out of range: a number with K or M behind it, such as 1500K, is possible",
        ),
        (
            of(h264, Container::Mp4, |o| {
                o.encode.max_rate = Some("1M".to_owned());
            }),
            "--max-rate 1M does not go without --buffer-size; possible: both together",
        ),
        (
            of(Codec::Mp3, Container::Mp3, |o| o.encode.crf = Some(18)),
            "--crf 18 does not go with the codec mp3, which makes sound alone; possible: leaving it out",
        ),
        (
            of(Codec::Wav, Container::Wav, |o| o.capture.muted = true),
            "the codec wav makes sound alone, and --muted leaves it out: there would be nothing in the file",
        ),
    ] {
        assert_eq!(error, expected);
    }
}

#[test]
fn what_was_not_said_follows_from_the_codec() {
    let settled = |codec, container, change: fn(&mut RenderOptions)| {
        let mut options = options();
        (options.encode.codec, options.encode.container) = (codec, container);
        change(&mut options);
        let request = RenderRequest::new(options).unwrap();
        request.settle(composition()).unwrap()
    };
    let vp9 = settled(Codec::Vp9, Container::Webm, |o| {
        o.encode.pixel_format = Some(PixelFormat::Yuva420p);
    });
    let encode = vp9.encode.unwrap();
    assert_eq!(encode.quality, Some(Quality::Crf(28)));
    assert_eq!(encode.x264_preset, None);
    assert_eq!(vp9.capture.image_format, ImageFormat::Png);
    assert_eq!(vp9.sound.unwrap().encode.codec, AudioCodec::Opus);

    let pro_res = settled(Codec::ProRes, Container::Mov, |_| {});
    let encode = pro_res.encode.unwrap();
    assert_eq!(
        (encode.quality, encode.pixel_format),
        (None, Some(PixelFormat::Yuv422p10))
    );
    assert_eq!(encode.pro_res_profile, Some(ProResProfile::Hq));
    assert_eq!(pro_res.capture.method, CaptureMethod::Screenshot);

    let matroska = settled(Codec::Vp9, Container::Mkv, |_| {});
    assert_eq!(matroska.sound.unwrap().encode.codec, AudioCodec::Pcm16);
    assert_eq!(matroska.capture.method, CaptureMethod::Framebuffer);

    let mp3 = settled(Codec::Mp3, Container::Mp3, |_| {});
    assert_eq!(mp3.encode, None);
    let sound = mp3.sound.unwrap();
    assert!(sound.always, "there is a file even if nothing is heard");
    assert_eq!(sound.encode.container, Container::Mp3);
}

#[test]
fn a_task_that_no_invocation_takes_is_refused() {
    let long = |bytes: usize| format!("{{\"a\":\"{}\"}}", "a".repeat(bytes));
    // Props go through the bucket.
    let request = |props: String| {
        let mut options = options();
        options.page.input_props = props;
        RenderRequest::new(options)
    };
    let given = request(long(7_000_000)).unwrap();
    let resolved = |resolved_props: String| {
        given.settle(Composition {
            resolved_props,
            ..composition()
        })
    };
    resolved(long(7_000_000)).unwrap();
    let too_large = |error: RequestError, max: &str| {
        let error = error.to_string();
        assert!(error.contains(&format!("at most {max}")), "{error}");
    };
    too_large(request(long(70_000_000)).unwrap_err(), "67108864");
    too_large(resolved(long(70_000_000)).unwrap_err(), "67108864");
    let error = refused(|o| {
        let value = "a".repeat(7_000_000);
        o.page.environment.insert("NAME".to_owned(), value);
    });
    assert!(error.contains("at most 6000000"), "{error}");
    // The defaults stay behind.
    let settled = given.settle(Composition {
        default_props: long(70_000_000),
        ..composition()
    });
    assert_eq!(settled.unwrap().composition.default_props, "");
}

#[test]
fn a_length_that_no_render_could_have_is_refused_before_a_page_is_asked() {
    for length in [
        ChunkLength::Frames(0),
        ChunkLength::Chunks(0),
        ChunkLength::Chunks(201),
    ] {
        let options = RenderOptions {
            chunk_length: length,
            ..options()
        };
        assert!(RenderRequest::new(options).is_err(), "{length:?}");
    }
}

#[test]
fn the_composition_fills_in_what_was_not_said() {
    let request = RenderRequest::new(options()).unwrap();
    let mut wishes_png = composition();
    wishes_png.defaults.image_format = Some("png".to_owned());
    let settled = request.settle(wishes_png).unwrap();
    assert_eq!(settled.capture.image_format, ImageFormat::Png);
    assert_eq!(settled.capture.method, CaptureMethod::Screenshot);
    assert!(settled.no_framebuffer.is_some());
    assert_eq!(settled.chunks.frames().len(), 90);
    assert_eq!(
        request.settle(composition()).unwrap().capture.image_format,
        ImageFormat::Jpeg
    );
}

#[test]
fn preset_and_rate_factor_go_together() {
    for (preset, crf, settled) in [
        (None, None, (X264Preset::Veryfast, 16)),
        (None, Some(20), (X264Preset::Veryfast, 20)),
        (Some(X264Preset::Medium), None, (X264Preset::Medium, 18)),
        (Some(X264Preset::Veryfast), None, (X264Preset::Veryfast, 18)),
        (Some(X264Preset::Slow), Some(0), (X264Preset::Slow, 0)),
    ] {
        let mut options = options();
        (options.encode.x264_preset, options.encode.crf) = (preset, crf);
        let request = RenderRequest::new(options).unwrap();
        let encode = request.settle(composition()).unwrap().encode.unwrap();
        let (preset, factor) = settled;
        assert_eq!(encode.x264_preset, Some(preset));
        assert_eq!(encode.quality, Some(Quality::Crf(factor)));
    }
}

#[test]
fn overrides_take_the_place_of_the_compositions_values() {
    let mut options = options();
    options.overrides.duration_in_frames = Some(7);
    options.overrides.fps = Some(Fps::new(60, 1).unwrap());
    let settled = RenderRequest::new(options)
        .unwrap()
        .settle(composition())
        .unwrap();
    assert_eq!(settled.chunks.frames().len(), 7);
    assert_eq!(settled.composition.fps.numerator(), 60);
}

/// `validate-even-dimensions-with-codec.js` of the official renderer.
#[test]
fn a_column_or_row_too_many_is_left_out_where_the_encoder_takes_none() {
    for (codec, container, sides, scale, expected) in [
        (Codec::H264, Container::Mp4, (321, 181), 1.0, (320, 180)),
        (Codec::H264, Container::Mp4, (321, 181), 2.0, (321, 181)),
        (Codec::H264, Container::Mp4, (322, 182), 0.5, (320, 180)),
        (Codec::H264, Container::Mp4, (192, 108), 0.53, (192, 106)),
        (Codec::H264, Container::Mp4, (192, 108), 0.25, (192, 105)),
        (Codec::Gif, Container::Gif, (192, 108), 0.53, (192, 108)),
        (Codec::H265, Container::Mp4, (321, 180), 1.0, (320, 180)),
        (Codec::Vp8, Container::Webm, (321, 181), 1.0, (321, 181)),
        (Codec::ProRes, Container::Mov, (321, 181), 1.0, (321, 181)),
    ] {
        let mut options = options();
        (options.encode.codec, options.encode.container) = (codec, container);
        options.capture.scale = scale;
        let settled = RenderRequest::new(options).unwrap().settle(Composition {
            width: sides.0,
            height: sides.1,
            ..composition()
        });
        let Composition { width, height, .. } = settled.unwrap().composition;
        assert_eq!((width, height), expected, "{codec} at {scale}");
    }
}

#[test]
fn stills_count_from_the_end_as_well() {
    let still = |frame| {
        let RenderOptions {
            composition: id,
            page,
            overrides,
            capture,
            ..
        } = options();
        StillRequest::new(StillOptions {
            composition: id,
            page,
            overrides,
            frame,
            format: StillFormat::Png,
            capture,
            retries: 1,
        })
        .unwrap()
        .settle(composition())
        .map(|(_, frame, _)| frame)
    };
    assert_eq!(still(0), Ok(0));
    assert_eq!(still(-1), Ok(89));
    assert_eq!(still(-90), Ok(0));
    assert!(still(-91).is_err() && still(90).is_err());
}

#[test]
fn the_identity_names_what_differs() {
    let one = RenderRequest::new(options()).unwrap().identity();
    let mut changed = options();
    changed.page.input_props = "{\"a\":1}".to_owned();
    changed.retries_per_chunk = 9;
    let other = RenderRequest::new(changed).unwrap().identity();
    let differing: Vec<_> = one
        .iter()
        .filter(|(part, digest)| other[*part] != **digest)
        .collect();
    assert_eq!(differing.len(), 1);
    assert_eq!(differing[0].0, "props");
}

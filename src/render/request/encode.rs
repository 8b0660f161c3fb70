//! What is asked for of the file and of its pictures, held against the table of codecs.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::RequestError;
use super::sound::is_bitrate;
use crate::media::{
    AudioCodec, Codec, ColorSpace, Container, ImageFormat, Pictures, PixelFormat, ProResProfile,
    X264Preset,
};
use crate::protocol::{EncodeSettings, Quality, X264_DEFAULT};
use crate::render::tags;

/// How the file is encoded, as far as it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeOptions {
    /// The codec.
    pub codec: Codec,
    /// The kind of file.
    pub container: Container,
    /// Constant rate factor. Where absent, what goes with codec and preset.
    pub crf: Option<u8>,
    /// Bits a second instead, as ffmpeg writes it.
    pub video_bitrate: Option<String>,
    /// The encoder's buffer, as ffmpeg writes it.
    pub buffer_size: Option<String>,
    /// The most bits a second over that buffer, as ffmpeg writes it.
    pub max_rate: Option<String>,
    /// libx264's preset.
    pub x264_preset: Option<X264Preset>,
    /// The kind of ProRes.
    pub pro_res_profile: Option<ProResProfile>,
    /// Pixel format of the stream; the codec's default where absent.
    pub pixel_format: Option<PixelFormat>,
    /// Matrix and range of the stream.
    pub color_space: ColorSpace,
    /// Keyframe distance in frames.
    pub gop_size: Option<u32>,
    /// How often a GIF begins again after its end; for ever where absent.
    pub gif_loops: Option<u32>,
    /// What the file says of itself.
    pub metadata: BTreeMap<String, String>,
}

impl EncodeOptions {
    pub(super) fn check(&self) -> Result<(), RequestError> {
        let codec = self.codec;
        let containers = codec.containers();
        if !containers.contains(&self.container) {
            let allowed = containers.iter().map(|container| format!(".{container}"));
            let ending = format!(".{}", self.container);
            return Err(unfit(("the ending", ending), codec, allowed));
        }
        if let (Some(loops), false) = (self.gif_loops, codec == Codec::Gif) {
            let without = ["leaving it out"];
            return Err(unfit(("--number-of-gif-loops", loops), codec, without));
        }
        self.check_metadata()?;
        for (what, value) in [
            ("video bit rate", &self.video_bitrate),
            ("buffer size", &self.buffer_size),
            ("max rate", &self.max_rate),
        ] {
            if let Some(value) = value.as_ref().filter(|value| !is_bitrate(value)) {
                return Err(RequestError::OutOfRange {
                    what,
                    found: value.clone(),
                    allowed: "a number with K or M behind it, such as 1500K,",
                });
            }
        }
        match codec.rules().pictures {
            None => self.check_no_pictures(),
            Some(pictures) => self.check_pictures(pictures),
        }
    }

    /// The same without tags that the file does not hold: ffmpeg leaves them out, and Remotion's clients hear nothing of it.
    #[must_use]
    pub fn without_unknown_tags(mut self) -> Self {
        if let Some(known) = self.known_tags() {
            let metadata = &mut self.metadata;
            metadata.retain(|name, _| known.contains(&name.to_lowercase().as_str()));
        }
        self
    }

    /// Matroska holds tags of any name (`None`), MP4 those of a list, and what has no place for tags none.
    fn known_tags(&self) -> Option<Vec<&'static str>> {
        match self.container {
            Container::Mkv | Container::Webm => None,
            Container::Mp4 | Container::Mov => Some(tags::known().collect()),
            _ => Some(Vec::new()),
        }
    }

    fn check_metadata(&self) -> Result<(), RequestError> {
        let Some(known) = self.known_tags() else {
            return Ok(());
        };
        let mut names = self.metadata.keys();
        match names.find(|name| !known.contains(&name.to_lowercase().as_str())) {
            None => Ok(()),
            Some(name) => {
                let with = format!("{} in .{}", self.codec, self.container);
                Err(unfit(("--metadata", format!("{name}=…")), with, known))
            }
        }
    }

    /// Nothing may be asked of pictures that are not made.
    fn check_no_pictures(&self) -> Result<(), RequestError> {
        let asked = [
            ("--crf", self.crf.map(|crf| crf.to_string())),
            ("--video-bitrate", self.video_bitrate.clone()),
            ("--buffer-size", self.buffer_size.clone()),
            ("--max-rate", self.max_rate.clone()),
            ("--x264-preset", self.x264_preset.map(|p| p.to_string())),
            (
                "--prores-profile",
                self.pro_res_profile.map(|p| p.to_string()),
            ),
            ("--pixel-format", self.pixel_format.map(|p| p.to_string())),
            ("--gop", self.gop_size.map(|gop| gop.to_string())),
        ];
        match asked.into_iter().find(|(_, value)| value.is_some()) {
            None => Ok(()),
            Some((option, value)) => Err(RequestError::Unfit {
                what: format!("{option} {}", value.unwrap_or_default()),
                with: format!(" the codec {}, which makes sound alone", self.codec),
                allowed: "leaving it out".to_owned(),
            }),
        }
    }

    fn check_pictures(&self, pictures: Pictures) -> Result<(), RequestError> {
        let codec = self.codec;
        if let Some(crf) = self.crf {
            let factors = pictures.rate_factors;
            if !factors.is_some_and(|factors| (factors.min..=factors.max).contains(&crf)) {
                let allowed = match factors {
                    Some(factors) => format!("{} to {}", factors.min, factors.max),
                    None => "leaving it out".to_owned(),
                };
                return Err(unfit(("--crf", crf), codec, [allowed]));
            }
        }
        if let Some(bitrate) = &self.video_bitrate {
            if pictures.rate_factors.is_none() {
                let without = ["leaving it out"];
                return Err(unfit(("--video-bitrate", bitrate), codec, without));
            }
            if let Some(crf) = self.crf {
                return Err(RequestError::Unfit {
                    what: format!("--video-bitrate {bitrate}"),
                    with: format!(" --crf {crf}"),
                    allowed: "one of both".to_owned(),
                });
            }
        }
        if let (Some(rate), None) = (&self.max_rate, &self.buffer_size) {
            return Err(RequestError::Unfit {
                what: format!("--max-rate {rate}"),
                with: "out --buffer-size".to_owned(),
                allowed: "both together".to_owned(),
            });
        }
        if let (Some(preset), false) = (self.x264_preset, codec.is_h264()) {
            return Err(unfit(("--x264-preset", preset), codec, ["leaving it out"]));
        }
        if let (Some(profile), false) = (self.pro_res_profile, codec == Codec::ProRes) {
            return Err(unfit(
                ("--prores-profile", profile),
                codec,
                ["leaving it out"],
            ));
        }
        if let (space @ (ColorSpace::Bt709 | ColorSpace::Bt2020Ncl), Codec::Gif) =
            (self.color_space, codec)
        {
            return Err(unfit(("--color-space", space), codec, ["default"]));
        }
        if let (Some(gop), true) = (self.gop_size, codec == Codec::Gif) {
            return Err(unfit(("--gop", gop), codec, ["leaving it out"]));
        }
        if let Some(format) = self.pixel_format
            && !pictures.pixel_formats.contains(&format)
        {
            return Err(unfit(
                ("--pixel-format", format),
                codec,
                pictures.pixel_formats,
            ));
        }
        if self.gop_size == Some(0) {
            return Err(RequestError::OutOfRange {
                what: "keyframe distance",
                found: "0".to_owned(),
                allowed: "1 or more",
            });
        }
        Ok(())
    }

    /// Nothing if the codec makes sound alone. Who says nothing of H.264 gets rmx's default; who says one of preset and
    /// rate factor gets Remotion's meaning of it.
    pub(super) fn settle(&self) -> Option<EncodeSettings> {
        let pictures = self.codec.rules().pictures?;
        let silent = self.x264_preset.is_none() && self.crf.is_none();
        let factor = match (self.codec.is_h264() && silent, self.crf) {
            (true, _) => Some(X264_DEFAULT.1),
            (false, Some(crf)) => Some(crf),
            (false, None) => pictures.rate_factors.map(|factors| factors.default),
        };
        let quality = match &self.video_bitrate {
            Some(bitrate) => Some(Quality::Bitrate(bitrate.clone())),
            None => factor.map(Quality::Crf),
        };
        let is_pro_res = self.codec == Codec::ProRes;
        Some(EncodeSettings {
            codec: self.codec,
            quality,
            buffer_size: self.buffer_size.clone(),
            max_rate: self.max_rate.clone(),
            x264_preset: self
                .codec
                .is_h264()
                .then(|| self.x264_preset.unwrap_or(X264_DEFAULT.0)),
            pro_res_profile: is_pro_res.then(|| self.pro_res_profile.unwrap_or(ProResProfile::Hq)),
            pixel_format: self
                .pixel_format
                .or(pictures.pixel_formats.first().copied()),
            color_space: self.color_space,
            gop_size: self.gop_size,
        })
    }

    /// The sound's codec: what was asked for, if codec and container take it, else the first that they take.
    pub(super) fn audio_codec(
        &self,
        asked: Option<AudioCodec>,
    ) -> Result<Option<AudioCodec>, RequestError> {
        let sound = self.codec.rules().sound.iter();
        let fits = sound.filter(|(_, containers)| containers.contains(&self.container));
        let fits: Vec<AudioCodec> = fits.map(|(codec, _)| *codec).collect();
        match asked {
            None => Ok(fits.first().copied()),
            Some(asked) if fits.contains(&asked) => Ok(Some(asked)),
            Some(asked) => {
                let with = format!("{} in .{}", self.codec, self.container);
                Err(unfit(("--audio-codec", asked), with, fits))
            }
        }
    }

    /// The format of screenshots: transparency needs PNG.
    pub(super) fn image_format(
        &self,
        asked: Option<ImageFormat>,
        wished: Option<ImageFormat>,
    ) -> Result<ImageFormat, RequestError> {
        match (self.pixel_format.filter(|f| f.is_transparent()), asked) {
            (Some(pixels), Some(ImageFormat::Jpeg)) => Err(RequestError::Unfit {
                what: "--image-format jpeg".to_owned(),
                with: format!(" the pixel format {pixels}, which is transparent"),
                allowed: ImageFormat::Png.to_string(),
            }),
            (Some(_), _) => Ok(ImageFormat::Png),
            (None, asked) => Ok(asked.or(wished).unwrap_or(ImageFormat::Jpeg)),
        }
    }
}

/// What was asked for, with what it does not go, and what does.
fn unfit<T: Display>(
    (option, value): (&'static str, impl Display),
    codec: impl Display,
    allowed: impl IntoIterator<Item = T>,
) -> RequestError {
    let allowed: Vec<String> = allowed.into_iter().map(|v| v.to_string()).collect();
    RequestError::Unfit {
        what: format!("{option} {value}"),
        with: format!(" the codec {codec}"),
        allowed: match &allowed[..] {
            [] => "leaving it out".to_owned(),
            allowed => allowed.join(", "),
        },
    }
}

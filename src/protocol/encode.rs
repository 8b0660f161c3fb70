//! How frames are encoded.

use serde::{Deserialize, Serialize};

use crate::media::{Codec, ColorSpace, PixelFormat, ProResProfile, X264Preset};

/// What H.264 is encoded with if nobody says anything: as good as Remotion's default (`medium` at 18) for about half the
/// work, in files that are a fifth larger (decision 13).
pub const X264_DEFAULT: (X264Preset, u8) = (X264Preset::Veryfast, 16);

/// How frames are encoded. The same for every chunk of a render, whatever the cuts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodeSettings {
    /// The codec, one that makes pictures.
    pub codec: Codec,
    /// How good it is to be; nothing where the codec alone decides.
    pub quality: Option<Quality>,
    /// The encoder's buffer, as ffmpeg writes it: `8M`.
    pub buffer_size: Option<String>,
    /// The most bits a second over the length of that buffer, as ffmpeg writes it: `4M`.
    pub max_rate: Option<String>,
    /// libx264's preset, for H.264 alone.
    pub x264_preset: Option<X264Preset>,
    /// For ProRes alone.
    pub pro_res_profile: Option<ProResProfile>,
    /// Pixel format of the stream; nothing if there is no choice.
    pub pixel_format: Option<PixelFormat>,
    /// Matrix and range of the stream.
    pub color_space: ColorSpace,
    /// Keyframe distance in frames, or the encoder's default.
    pub gop_size: Option<u32>,
}

/// How good a video is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Constant rate factor.
    Crf(u8),
    /// Bits a second, as ffmpeg writes it: `1500K`.
    Bitrate(String),
}

impl Default for EncodeSettings {
    /// Remotion's defaults for H.264.
    fn default() -> Self {
        Self {
            codec: Codec::H264,
            quality: Some(Quality::Crf(18)),
            buffer_size: None,
            max_rate: None,
            x264_preset: Some(X264Preset::Medium),
            pro_res_profile: None,
            pixel_format: Some(PixelFormat::Yuv420p),
            color_space: ColorSpace::Default,
            gop_size: None,
        }
    }
}

//! Output formats: which codecs there are, and what follows from each of them. One table, so that the command line, the
//! configuration, the workers and the joining of segments cannot have rules of their own.
//!
//! The rules are the official renderer's (4.0.527: `options/audio-codec`, `file-extensions`, `crf`, `pixel-format`), but
//! where it lets something pass that its encoders then refuse or replace in silence: here that is refused by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

words! {
    /// How frames and sound become a file.
    Codec, CodecError {
        /// H.264, by libx264.
        H264 = "h264",
        /// H.264 in Matroska, with sound that is not compressed.
        H264Mkv = "h264-mkv",
        /// HEVC, by libx265.
        H265 = "h265",
        /// VP8, by libvpx.
        Vp8 = "vp8",
        /// VP9, by libvpx.
        Vp9 = "vp9",
        /// Apple ProRes, by ffmpeg's prores_ks.
        ProRes = "prores",
        /// Pictures of up to 256 colours, without sound.
        Gif = "gif",
        /// Sound alone.
        Mp3 = "mp3",
        /// Sound alone.
        Aac = "aac",
        /// Sound alone, not compressed.
        Wav = "wav",
    }
}

words! {
    /// How sound is encoded.
    AudioCodec, AudioCodecError {
        /// AAC, low complexity.
        Aac = "aac",
        /// MPEG-1 layer III, by libmp3lame.
        Mp3 = "mp3",
        /// Opus, by libopus.
        Opus = "opus",
        /// 16 bit samples as they are.
        Pcm16 = "pcm-16",
    }
}

words! {
    /// What kind of file it is, by the usual ending of its name.
    Container, ContainerError {
        /// MPEG-4 part 14.
        Mp4 = "mp4",
        /// QuickTime.
        Mov = "mov",
        /// Matroska.
        Mkv = "mkv",
        /// WebM.
        Webm = "webm",
        /// Graphics Interchange Format.
        Gif = "gif",
        /// MPEG audio frames.
        Mp3 = "mp3",
        /// AAC frames with ADTS headers.
        Aac = "aac",
        /// MPEG-4 part 14 with sound alone.
        M4a = "m4a",
        /// RIFF WAVE.
        Wav = "wav",
    }
}

words! {
    /// Matrix and range of the encoded video.
    ColorSpace, ColorSpaceError {
        /// BT.601 in the range of the frames: full, but for PNG and ProRes.
        Default = "default",
        /// The same.
        Bt601 = "bt601",
        /// BT.709, limited range.
        Bt709 = "bt709",
        /// BT.2020 with non-constant luminance, limited range, as Remotion has it.
        Bt2020Ncl = "bt2020-ncl",
    }
}

words! {
    /// Kinds of ProRes, the smallest first.
    ProResProfile, ProResProfileError {
        /// 4:2:2, for editing alone.
        Proxy = "proxy",
        /// 4:2:2.
        Light = "light",
        /// 4:2:2.
        Standard = "standard",
        /// 4:2:2. Remotion's default.
        Hq = "hq",
        /// 4:4:4, and transparency with the pixel format `yuva444p10le`.
        P4444 = "4444",
        /// 4:4:4 at a higher rate.
        P4444Xq = "4444-xq",
    }
}

words! {
    /// The pixel format of the encoded video.
    PixelFormat, PixelFormatError {
        /// 8 bit, 4:2:0. What every player shows.
        Yuv420p = "yuv420p",
        /// 8 bit, 4:2:0, and transparency.
        Yuva420p = "yuva420p",
        /// 8 bit, 4:2:2.
        Yuv422p = "yuv422p",
        /// 8 bit, 4:4:4.
        Yuv444p = "yuv444p",
        /// 10 bit, 4:2:0.
        Yuv420p10 = "yuv420p10le",
        /// 10 bit, 4:2:2.
        Yuv422p10 = "yuv422p10le",
        /// 10 bit, 4:4:4.
        Yuv444p10 = "yuv444p10le",
        /// 10 bit, 4:4:4, and transparency.
        Yuva444p10 = "yuva444p10le",
    }
}

impl PixelFormat {
    /// Whether it keeps how transparent a pixel is.
    pub fn is_transparent(self) -> bool {
        matches!(self, Self::Yuva420p | Self::Yuva444p10)
    }

    /// How many pixels of a row, and how many rows, share their colour.
    pub fn shared(self) -> (u32, u32) {
        match self {
            Self::Yuv420p | Self::Yuva420p | Self::Yuv420p10 => (2, 2),
            Self::Yuv422p | Self::Yuv422p10 => (2, 1),
            Self::Yuv444p | Self::Yuv444p10 | Self::Yuva444p10 => (1, 1),
        }
    }
}

/// Constant rate factors of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateFactors {
    /// Remotion's default.
    pub default: u8,
    /// The best, largest.
    pub min: u8,
    /// The worst, smallest.
    pub max: u8,
}

/// What follows from a codec that makes pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pictures {
    /// ffmpeg's name of the encoder of chunks.
    pub encoder: &'static str,
    /// Nothing if its quality is not chosen so.
    pub rate_factors: Option<RateFactors>,
    /// What the encoder takes; the first is the default. Nothing if there is no choice.
    pub pixel_formats: &'static [PixelFormat],
    /// In what workers hand over a chunk.
    pub segment: Container,
}

/// What follows from a codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecRules {
    /// Nothing if the codec makes sound alone.
    pub pictures: Option<Pictures>,
    /// What its sound can be encoded with, and the containers that hold both. The first of each is the default.
    pub sound: &'static [(AudioCodec, &'static [Container])],
    /// The container of a codec without sound.
    pub silent: Option<Container>,
}

/// What libx264 and libx265 take.
const H26X_FORMATS: &[PixelFormat] = &[
    PixelFormat::Yuv420p,
    PixelFormat::Yuv422p,
    PixelFormat::Yuv444p,
    PixelFormat::Yuv420p10,
    PixelFormat::Yuv422p10,
    PixelFormat::Yuv444p10,
];

const H264: Pictures = Pictures {
    encoder: "libx264",
    // 0 is lossless. The official renderer refuses it because Apple's players do not show such files.
    rate_factors: factors(18, 0, 51),
    pixel_formats: H26X_FORMATS,
    segment: Container::Mp4,
};

const fn factors(default: u8, min: u8, max: u8) -> Option<RateFactors> {
    Some(RateFactors { default, min, max })
}

const WEBM_SOUND: &[(AudioCodec, &[Container])] = &[
    (AudioCodec::Opus, &[Container::Webm]),
    (AudioCodec::Pcm16, &[Container::Mkv]),
];

impl AudioCodec {
    /// The kind of file in which sound lies that goes into a video.
    pub fn container(self) -> Container {
        match self {
            Self::Aac => Container::M4a,
            Self::Mp3 => Container::Mp3,
            Self::Opus => Container::Webm,
            Self::Pcm16 => Container::Wav,
        }
    }
}

impl Codec {
    /// The table.
    pub const fn rules(self) -> CodecRules {
        use AudioCodec::{Aac, Mp3, Pcm16};
        use Container::{M4a, Mkv, Mov, Mp4, Wav, Webm};
        let mut silent = None;
        let (pictures, sound): (_, &[(AudioCodec, &[Container])]) = match self {
            Self::H264 => (
                Some(H264),
                &[
                    (Aac, &[Mp4, Mkv, Mov]),
                    (Mp3, &[Mp4, Mkv, Mov]),
                    (Pcm16, &[Mkv, Mov]),
                ],
            ),
            Self::H264Mkv => (Some(H264), &[(Pcm16, &[Mkv]), (Mp3, &[Mkv])]),
            Self::H265 => (
                Some(Pictures {
                    encoder: "libx265",
                    rate_factors: factors(23, 0, 51),
                    ..H264
                }),
                &[(Aac, &[Mp4, Mkv]), (Pcm16, &[Mkv])],
            ),
            Self::Vp8 => (
                Some(Pictures {
                    encoder: "libvpx",
                    rate_factors: factors(9, 4, 63),
                    pixel_formats: &[PixelFormat::Yuv420p, PixelFormat::Yuva420p],
                    segment: Webm,
                }),
                WEBM_SOUND,
            ),
            Self::Vp9 => (
                Some(Pictures {
                    encoder: "libvpx-vp9",
                    rate_factors: factors(28, 0, 63),
                    pixel_formats: &[
                        PixelFormat::Yuv420p,
                        PixelFormat::Yuva420p,
                        PixelFormat::Yuv422p,
                        PixelFormat::Yuv444p,
                        PixelFormat::Yuv420p10,
                        PixelFormat::Yuv422p10,
                        PixelFormat::Yuv444p10,
                    ],
                    segment: Webm,
                }),
                WEBM_SOUND,
            ),
            Self::ProRes => (
                Some(Pictures {
                    encoder: "prores_ks",
                    rate_factors: None,
                    pixel_formats: &[
                        PixelFormat::Yuv422p10,
                        PixelFormat::Yuv444p10,
                        PixelFormat::Yuva444p10,
                    ],
                    segment: Mov,
                }),
                &[(Pcm16, &[Mov, Mkv]), (Aac, &[Mov, Mkv])],
            ),
            // A palette suits all frames or it shows where chunks meet, so workers hand over the images as they are.
            Self::Gif => {
                silent = Some(Container::Gif);
                (
                    Some(Pictures {
                        encoder: "copy",
                        rate_factors: None,
                        pixel_formats: &[],
                        segment: Mkv,
                    }),
                    &[],
                )
            }
            Self::Mp3 => (None, &[(Mp3, &[Container::Mp3]), (Pcm16, &[Wav])]),
            Self::Aac => (None, &[(Aac, &[Container::Aac, M4a]), (Pcm16, &[Wav])]),
            Self::Wav => (None, &[(Pcm16, &[Wav])]),
        };
        CodecRules {
            pictures,
            sound,
            silent,
        }
    }

    /// Whether its pictures are H.264.
    pub fn is_h264(self) -> bool {
        matches!(self, Self::H264 | Self::H264Mkv)
    }

    /// Every container it may lie in, with any sound; the default is the first.
    pub fn containers(self) -> Vec<Container> {
        let mut containers: Vec<_> = self.rules().silent.into_iter().collect();
        for container in self.rules().sound.iter().flat_map(|(_, held)| *held) {
            if !containers.contains(container) {
                containers.push(*container);
            }
        }
        containers
    }

    /// The container of a file whose name says nothing of it, with this sound.
    pub fn container_with(self, sound: Option<AudioCodec>) -> Container {
        let rows = self.rules().sound;
        let row = rows.iter().find(|(codec, _)| Some(*codec) == sound);
        row.map_or_else(|| self.containers()[0], |(_, held)| held[0])
    }

    /// The codecs that a container may hold, the one that its ending alone means first.
    pub fn of_container(container: Container) -> Vec<Self> {
        let meant = match container {
            Container::Mp4 => Self::H264,
            Container::Mov => Self::ProRes,
            Container::Mkv => Self::H264Mkv,
            Container::Webm => Self::Vp8,
            Container::Gif => Self::Gif,
            Container::Mp3 => Self::Mp3,
            Container::Aac | Container::M4a => Self::Aac,
            Container::Wav => Self::Wav,
        };
        let others = Self::ALL.iter().copied();
        let others =
            others.filter(|codec| *codec != meant && codec.containers().contains(&container));
        std::iter::once(meant).chain(others).collect()
    }
}

impl Container {
    /// The container of a file with this ending.
    pub fn of_ending(ending: &str) -> Option<Self> {
        match ending {
            "m4v" => Some(Self::Mp4),
            "m4b" => Some(Self::M4a),
            ending => ending.parse().ok(),
        }
    }

    /// ffmpeg's name of it.
    pub fn muxer(self) -> &'static str {
        match self {
            Self::Mp4 | Self::M4a => "mp4",
            Self::Mov => "mov",
            Self::Mkv => "matroska",
            Self::Webm => "webm",
            Self::Gif => "gif",
            Self::Mp3 => "mp3",
            Self::Aac => "adts",
            Self::Wav => "wav",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Mov => "video/quicktime",
            Self::Mkv => "video/x-matroska",
            Self::Webm => "video/webm",
            Self::Gif => "image/gif",
            Self::Mp3 => "audio/mpeg",
            Self::Aac => "audio/aac",
            Self::M4a => "audio/mp4",
            Self::Wav => "audio/wav",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The official renderer's tables (4.0.527), as far as rmx has the codec and the container.
    #[test]
    fn containers_and_sound_are_the_official_ones() {
        let shown = |codec: Codec| {
            let sound = codec.rules().sound.iter().map(|(sound, containers)| {
                let containers: Vec<_> = containers.iter().map(|c| c.as_str()).collect();
                format!("{sound}: {}", containers.join(" "))
            });
            sound.collect::<Vec<_>>().join("; ")
        };
        for (codec, expected) in [
            (
                Codec::H264,
                "aac: mp4 mkv mov; mp3: mp4 mkv mov; pcm-16: mkv mov",
            ),
            (Codec::H264Mkv, "pcm-16: mkv; mp3: mkv"),
            (Codec::H265, "aac: mp4 mkv; pcm-16: mkv"),
            (Codec::Vp8, "opus: webm; pcm-16: mkv"),
            (Codec::Vp9, "opus: webm; pcm-16: mkv"),
            (Codec::ProRes, "pcm-16: mov mkv; aac: mov mkv"),
            (Codec::Mp3, "mp3: mp3; pcm-16: wav"),
            (Codec::Aac, "aac: aac m4a; pcm-16: wav"),
            (Codec::Wav, "pcm-16: wav"),
        ] {
            assert_eq!(shown(codec), expected, "{codec}");
        }
    }

    #[test]
    fn rate_factors_are_the_official_ones() {
        let factors = |codec: Codec| {
            let factors = codec.rules().pictures?.rate_factors?;
            Some((factors.default, factors.min, factors.max))
        };
        assert_eq!(factors(Codec::H264), Some((18, 0, 51)));
        assert_eq!(factors(Codec::H264Mkv), Some((18, 0, 51)));
        assert_eq!(factors(Codec::H265), Some((23, 0, 51)));
        assert_eq!(factors(Codec::Vp8), Some((9, 4, 63)));
        assert_eq!(factors(Codec::Vp9), Some((28, 0, 63)));
        for codec in [
            Codec::ProRes,
            Codec::Gif,
            Codec::Mp3,
            Codec::Aac,
            Codec::Wav,
        ] {
            assert_eq!(factors(codec), None, "{codec}");
        }
    }

    #[test]
    fn an_ending_means_the_official_codec() {
        for (ending, codec) in [
            ("mp4", Codec::H264),
            ("m4v", Codec::H264),
            ("mov", Codec::ProRes),
            ("mkv", Codec::H264Mkv),
            ("webm", Codec::Vp8),
            ("gif", Codec::Gif),
            ("mp3", Codec::Mp3),
            ("aac", Codec::Aac),
            ("m4a", Codec::Aac),
            ("wav", Codec::Wav),
        ] {
            let container = Container::of_ending(ending).unwrap();
            assert_eq!(Codec::of_container(container)[0], codec, "{ending}");
        }
        assert_eq!(Container::of_ending("avi"), None);
    }

    #[test]
    fn every_row_of_the_table_is_whole() {
        for codec in Codec::ALL {
            let rules = codec.rules();
            assert!(!codec.containers().is_empty(), "{codec}");
            for container in codec.containers() {
                assert!(Codec::of_container(container).contains(codec), "{codec}");
            }
            if let Some(pictures) = rules.pictures {
                let factors = pictures.rate_factors;
                assert!(factors.is_none_or(|f| (f.min..=f.max).contains(&f.default)));
                let first = pictures.pixel_formats.first();
                assert!(first.is_none_or(|first| !first.is_transparent()), "{codec}");
            }
        }
    }
}

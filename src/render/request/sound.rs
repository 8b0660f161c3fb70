//! What is asked for of the sound.

use super::RequestError;
use crate::media::{AudioCodec, Container};
use crate::protocol::{AUDIO_BITRATE_DEFAULT, SAMPLE_RATE_DEFAULT, SoundSettings};

/// How sound is made, as far as it was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SoundOptions {
    /// How it is encoded; what codec and container prefer where absent.
    pub codec: Option<AudioCodec>,
    /// Samples a second; the composition's own wish, then Remotion's default, where absent.
    pub sample_rate: Option<u32>,
    /// As ffmpeg writes it, such as `320k`; Remotion's default where absent.
    pub bitrate: Option<String>,
    /// Whether a video in which nothing is heard gets a sound track, too.
    pub always: bool,
}

impl SoundOptions {
    pub(super) fn check(&self) -> Result<(), RequestError> {
        if let Some(rate) = self.sample_rate.filter(|rate| !SAMPLE_RATES.contains(rate)) {
            return Err(RequestError::OutOfRange {
                what: "sample rate",
                found: rate.to_string(),
                allowed: "what AAC knows, 7350 to 96000, such as 44100 and 48000,",
            });
        }
        match &self.bitrate {
            Some(bitrate) if !is_bitrate(bitrate) => Err(RequestError::OutOfRange {
                what: "bit rate",
                found: bitrate.clone(),
                allowed: "a number with K or M behind it, such as 320K,",
            }),
            _ => Ok(()),
        }
    }

    /// Fills in the composition's own wish for the sample rate, and Remotion's defaults.
    pub(super) fn settle(
        &self,
        codec: AudioCodec,
        container: Container,
        wished_rate: Option<u32>,
    ) -> Sound {
        let wished_rate = wished_rate.filter(|rate| SAMPLE_RATES.contains(rate));
        let sample_rate = self.sample_rate.or(wished_rate);
        let bitrate = self.bitrate.as_deref().unwrap_or(AUDIO_BITRATE_DEFAULT);
        Sound {
            encode: SoundSettings {
                codec,
                container,
                sample_rate: sample_rate.unwrap_or(SAMPLE_RATE_DEFAULT),
                bitrate: bitrate.to_owned(),
            },
            always: self.always,
        }
    }
}

/// The sample rates that AAC has (ISO/IEC 14496-3, sampling frequency index).
const SAMPLE_RATES: &[u32] = &[
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Whether Remotion would take this for a bit rate: digits, and `k`, `K` or `M`.
pub(super) fn is_bitrate(text: &str) -> bool {
    let digits = text.trim_end_matches(['k', 'K', 'M']);
    text.len() == digits.len() + 1 && digits.parse::<u32>().is_ok_and(|number| number > 0)
}

/// What a video's sound is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::render) struct Sound {
    pub(in crate::render) encode: SoundSettings,
    /// Whether there is a sound track even if nothing is heard.
    pub(in crate::render) always: bool,
}

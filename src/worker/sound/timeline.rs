//! Frames → samples. All positions are counted from the video's beginning and rounded once, so nothing adds up.

use std::ops::Range;

use crate::media::{Fps, FrameRange};
use crate::protocol::{Playback, SoundTrack};

/// The clock of one render's sound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeline {
    pub(super) frames: FrameRange,
    pub(super) fps: Fps,
    pub(super) sample_rate: u32,
}

impl Timeline {
    /// Samples of the whole sound.
    pub(super) fn length(&self) -> u64 {
        self.at(self.frames.end())
    }

    /// The sample at which `frame` begins.
    pub(super) fn at(&self, frame: u32) -> u64 {
        let since = frame.saturating_sub(self.frames.start());
        self.half_frames(2 * u64::from(since))
    }

    /// The last sample that is not later than the beginning of `frame`: where a page puts samples it made for it.
    pub(super) fn before(&self, frame: u32) -> u64 {
        let since = u128::from(frame.saturating_sub(self.frames.start()));
        let samples = since * u128::from(self.sample_rate) * u128::from(self.fps.denominator())
            / u128::from(self.fps.numerator());
        u64::try_from(samples).unwrap_or(u64::MAX)
    }

    /// The sample after so many halves of frames, to the nearest one.
    fn half_frames(&self, halves: u64) -> u64 {
        let scale = 2 * u128::from(self.fps.numerator());
        let samples =
            u128::from(halves) * u128::from(self.sample_rate) * u128::from(self.fps.denominator());
        u64::try_from((samples + scale / 2) / scale).unwrap_or(u64::MAX)
    }

    /// When a track is heard.
    pub(super) fn samples(&self, track: &SoundTrack) -> Range<u64> {
        self.at(track.frames.start())..self.at(track.frames.end())
    }

    /// Up to which sample of the track which volume holds. As in the official renderer, a frame's volume is that of the
    /// moments nearest to its beginning: from half a frame before to half a frame after.
    pub(super) fn volumes(&self, track: &SoundTrack) -> Vec<(u64, f32)> {
        let mut frames = 0;
        track
            .volumes
            .iter()
            .map(|(count, volume)| {
                frames += u64::from(*count);
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a volume needs no more digits"
                )]
                let volume = *volume as f32;
                (self.half_frames((2 * frames).saturating_sub(1)), volume)
            })
            .collect()
    }

    /// The first sample of a track that is heard, in its file at its speed.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates"
    )]
    pub(super) fn trim(&self, media_frame: f64, playback: &Playback) -> u64 {
        let start = playback.start_frame;
        let frames = start / playback.rate + (media_frame - start);
        (frames / self.fps.as_f64() * f64::from(self.sample_rate)).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MediaSource;

    fn timeline(fps: f64, sample_rate: u32) -> Timeline {
        Timeline {
            frames: FrameRange::new(10, 1_000_010).unwrap(),
            fps: Fps::from_number(fps).unwrap(),
            sample_rate,
        }
    }

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "these counts are small")]
    fn no_frame_is_more_than_half_a_sample_off_however_late() {
        for fps in [24.0, 25.0, 29.97, 30.0, 60.0] {
            for sample_rate in [44_100, 48_000] {
                let timeline = timeline(fps, sample_rate);
                for frame in [10, 11, 12, 1_000, 12_345, 999_999, 1_000_010] {
                    let exact =
                        f64::from(frame - 10) * f64::from(sample_rate) / timeline.fps.as_f64();
                    let off = (timeline.at(frame) as f64 - exact).abs();
                    assert!(off <= 0.5 + 1e-6, "{fps} {sample_rate} {frame}: {off}");
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_page_says_there_is_a_first_sample(
            media_frame in proptest::num::f64::ANY,
            rate in proptest::num::f64::ANY,
            start_frame in proptest::num::f64::ANY,
        ) {
            let playback = Playback { rate, tone_frequency: 1.0, start_frame, stream: 0 };
            timeline(30.0, 48_000).trim(media_frame, &playback);
        }

        #[test]
        fn volumes_end_where_their_frames_end(counts in proptest::collection::vec(0_u32..100, 0..20)) {
            let track = SoundTrack {
                id: "a".to_owned(),
                source: MediaSource::Site("a.mp3".to_owned()),
                playback: Playback { rate: 1.0, tone_frequency: 1.0, start_frame: 0.0, stream: 0 },
                frames: FrameRange::new(10, 40).unwrap(),
                media_frame: 0.0,
                volumes: counts.iter().map(|count| (*count, 1.0)).collect(),
            };
            let volumes = timeline(30.0, 48_000).volumes(&track);
            proptest::prop_assert!(volumes.is_sorted_by_key(|(end, _)| *end));
        }
    }

    #[test]
    fn tracks_are_placed_trimmed_and_turned_up() {
        let timeline = timeline(30.0, 48_000);
        let track = SoundTrack {
            id: "a".to_owned(),
            source: MediaSource::Site("a.mp3".to_owned()),
            playback: Playback {
                rate: 2.0,
                tone_frequency: 1.0,
                start_frame: 30.0,
                stream: 0,
            },
            frames: FrameRange::new(40, 70).unwrap(),
            media_frame: 45.0,
            volumes: vec![(10, 0.5), (20, 1.0)],
        };
        assert_eq!(timeline.samples(&track), 48_000..96_000);
        // Half a second of the media at twice the speed, then fifteen frames of the video.
        assert_eq!(
            timeline.trim(track.media_frame, &track.playback),
            24_000 + 24_000
        );
        assert_eq!(timeline.volumes(&track), [(15_200, 0.5), (47_200, 1.0)]);
    }
}

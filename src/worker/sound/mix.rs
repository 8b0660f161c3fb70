//! Many sounds → one, sample by sample. Memory holds a block of samples and what the pipes of the decoders hold.

use std::collections::VecDeque;
use std::ops::Range;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::decode::{Decoder, SAMPLE_BYTES};
use super::{Played, Players};
use crate::worker::failure::{TaskResult, internal};

/// Samples that are mixed at a time.
const BLOCK: usize = 8_192;
/// Decoders that run at the same time; sounds beyond that are decoded to the disk when they begin.
const DECODERS_MAX: usize = 16;

/// A sound somewhere in the whole.
#[derive(Debug)]
pub(super) struct Voice {
    /// When it is heard.
    pub(super) samples: Range<u64>,
    /// Up to which of its samples which volume holds; the last one holds to the end.
    pub(super) volumes: Vec<(u64, f32)>,
    /// What is decoded.
    pub(super) what: Played,
}

/// A voice that is heard.
struct Playing {
    decoder: Decoder,
    samples: Range<u64>,
    volumes: VecDeque<(u64, f32)>,
}

/// Mixes `voices`, which are in the order of their beginnings, into `length` samples, and writes those to `output`.
pub(super) async fn mix(
    voices: Vec<Voice>,
    length: u64,
    players: &Players<'_>,
    output: &mut (impl AsyncWrite + Unpin),
) -> TaskResult<()> {
    let mut voices = voices.into_iter().peekable();
    let mut playing: Vec<Playing> = Vec::new();
    let mut stored = 0;
    let mut sums = vec![0.0_f32; BLOCK * 2];
    let mut bytes = vec![0; BLOCK * SAMPLE_BYTES];
    let mut at = 0;
    while at < length {
        let block = at..length.min(at + BLOCK as u64);
        while let Some(voice) = voices.next_if(|voice| voice.samples.start < block.end) {
            let mut decoder = players.start(voice.what, &voice.samples).await?;
            if playing.len() >= DECODERS_MAX {
                stored += 1;
                decoder = decoder
                    .store(&players.scratch.join(format!("voice-{stored}")))
                    .await?;
            }
            playing.push(Playing {
                decoder,
                samples: voice.samples,
                volumes: voice.volumes.into(),
            });
        }
        sums.fill(0.0);
        let mut heard = Vec::with_capacity(playing.len());
        for mut voice in playing {
            if voice.add(&block, &mut sums, &mut bytes).await? {
                heard.push(voice);
            }
        }
        playing = heard;
        let count = length_of(&block);
        let output_bytes = &mut bytes[..count * SAMPLE_BYTES];
        for (sum, place) in sums.iter().zip(output_bytes.chunks_exact_mut(2)) {
            place.copy_from_slice(&to_16_bit(*sum).to_le_bytes());
        }
        output
            .write_all(output_bytes)
            .await
            .map_err(|error| internal("handing over the mixed sound", error))?;
        at = block.end;
    }
    Ok(())
}

impl Playing {
    /// Adds what is heard during `block`; whether there is more to come.
    async fn add(
        &mut self,
        block: &Range<u64>,
        sums: &mut [f32],
        bytes: &mut [u8],
    ) -> TaskResult<bool> {
        let part = self.samples.start.max(block.start)..self.samples.end.min(block.end);
        let count = length_of(&part);
        let buffer = &mut bytes[..count * SAMPLE_BYTES];
        let read = self.decoder.read(buffer).await?;
        let place = length_of(&(block.start..part.start)) * 2;
        let samples = buffer[..read].chunks_exact(SAMPLE_BYTES);
        let samples = (part.start - self.samples.start..).zip(samples);
        for ((of_voice, sample), sum) in samples.zip(sums[place..].chunks_exact_mut(2)) {
            while self.volumes.len() > 1 && of_voice >= self.volumes[0].0 {
                self.volumes.pop_front();
            }
            let volume = self.volumes.front().map_or(1.0, |(_, volume)| *volume);
            sum[0] += f32::from(i16::from_le_bytes([sample[0], sample[1]])) * volume;
            sum[1] += f32::from(i16::from_le_bytes([sample[2], sample[3]])) * volume;
        }
        Ok(read == buffer.len() && self.samples.end > block.end)
    }
}

fn length_of(samples: &Range<u64>) -> usize {
    usize::try_from(samples.end.saturating_sub(samples.start)).unwrap_or(usize::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast from a float saturates, which is what is wanted of sound that is too loud"
)]
fn to_16_bit(sample: f32) -> i16 {
    sample.round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_that_is_too_loud_is_cut_at_the_top() {
        assert_eq!(to_16_bit(40_000.0), i16::MAX);
        assert_eq!(to_16_bit(-40_000.0), i16::MIN);
        assert_eq!((to_16_bit(1.5), to_16_bit(-0.4)), (2, 0));
    }
}

//! How far a render has come, from what its workers say.

use crate::cloud::CloudError;
use crate::media::{Codec, FrameRange};
use crate::protocol::{Composition, EncodeSettings, WorkerMessage};

use super::chunks::{Chunk, ChunkPlan};
use super::dispatch::{DispatchEvent, Unit};
use super::invoked::Invoked;
use super::scheduler::Note;

/// How far a render has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Frames captured. Never falls: a chunk that is tried again counts once.
    pub frames_rendered: u32,
    /// Frames encoded.
    pub frames_encoded: u32,
    /// All frames.
    pub frames_total: u32,
    /// Chunks whose segment is in the bucket.
    pub chunks_done: u32,
    /// All chunks.
    pub chunks_total: u32,
    /// Invocations that are running.
    pub running: u32,
    /// Retries so far.
    pub retries: u32,
    /// Backup copies so far.
    pub backups: u32,
}

/// What happens during a render.
#[derive(Debug)]
pub enum RenderEvent<'a> {
    /// Another run works on the render, or died over it: which of the two shows within seconds.
    Watching {
        /// Who, and since when.
        holder: &'a str,
    },
    /// The composition is known and the frames are cut.
    Planned {
        /// The composition as it is rendered.
        composition: &'a Composition,
        /// The chunks.
        chunks: &'a ChunkPlan,
        /// Its codec.
        codec: Codec,
        /// How pictures are encoded, if there are any.
        encode: Option<&'a EncodeSettings>,
    },
    /// It has come further.
    Progress(Progress),
    /// A chunk's segment is in the bucket.
    ChunkDone {
        /// The chunk.
        chunk: Chunk,
        /// From its invocation to its end.
        took_ms: u64,
    },
    /// A chunk's segment was in the bucket when the render was taken up.
    ChunkFound {
        /// The chunk.
        chunk: Chunk,
    },
    /// An invocation is over, whatever it was for.
    InvocationEnded(Invoked),
    /// Something the user may want to know.
    Note {
        /// The chunk's frames; nothing if the note is about a question.
        frames: Option<FrameRange>,
        /// What.
        note: Note,
    },
    /// A line of the page's console or of the worker.
    Log {
        /// The chunk's frames; nothing if the page was only asked a question.
        frames: Option<FrameRange>,
        /// `error`, `warning`, `info` or `debug`.
        level: &'a str,
        /// The text.
        text: &'a str,
    },
    /// The sound of the whole video is being made.
    Mixing,
    /// The segments are being joined.
    Stitching {
        /// Frames copied.
        frames: u64,
        /// All frames.
        frames_total: u64,
    },
    /// The video is there, but its segments could not be removed from the bucket.
    NotCleaned {
        /// Why.
        error: &'a CloudError,
    },
}

/// The counts of a render.
#[derive(Debug)]
pub(super) struct Tally {
    chunks: Vec<Chunk>,
    /// Captured and encoded frames of each chunk, the most any copy reported.
    frames: Vec<(u32, u32)>,
    progress: Progress,
    pub(super) retries: u32,
    pub(super) backups: u32,
    pub(super) slowest: Option<(FrameRange, u64)>,
}

impl Tally {
    pub(super) fn new(plan: &ChunkPlan, units: &[Unit]) -> Self {
        let mut tally = Self {
            chunks: plan.chunks().collect(),
            frames: vec![(0, 0); units.len()],
            progress: Progress {
                frames_total: plan.shown(),
                chunks_total: plan.len(),
                ..Progress::default()
            },
            retries: 0,
            backups: 0,
            slowest: None,
        };
        for (index, unit) in units.iter().enumerate() {
            if unit.done {
                tally.complete(index);
            }
        }
        tally
    }

    fn complete(&mut self, index: usize) {
        let all = self.chunks[index].shown;
        self.advance(index, all, all);
        self.progress.chunks_done += 1;
    }

    fn advance(&mut self, index: usize, rendered: u32, encoded: u32) {
        let all = self.chunks[index].shown;
        let (rendered_before, encoded_before) = self.frames[index];
        let rendered = rendered.clamp(rendered_before, all);
        let encoded = encoded.clamp(encoded_before, all);
        self.progress.frames_rendered += rendered - rendered_before;
        self.progress.frames_encoded += encoded - encoded_before;
        self.frames[index] = (rendered, encoded);
    }

    pub(super) fn take(
        &mut self,
        event: DispatchEvent<'_>,
        on_event: &mut impl FnMut(RenderEvent<'_>),
    ) {
        match event {
            DispatchEvent::Message { unit, message } => {
                let index = unit as usize;
                match message {
                    WorkerMessage::Progress { rendered, encoded } => {
                        self.advance(index, *rendered, *encoded);
                    }
                    WorkerMessage::Log { level, text } => on_event(RenderEvent::Log {
                        frames: Some(self.chunks[index].frames),
                        level,
                        text,
                    }),
                    WorkerMessage::Started { .. }
                    | WorkerMessage::Done { .. }
                    | WorkerMessage::Failed { .. } => {}
                }
            }
            DispatchEvent::Done { unit, took_ms } => {
                self.complete(unit as usize);
                let chunk = self.chunks[unit as usize];
                if self.slowest.is_none_or(|(_, slowest)| took_ms > slowest) {
                    self.slowest = Some((chunk.frames, took_ms));
                }
                on_event(RenderEvent::ChunkDone { chunk, took_ms });
            }
            DispatchEvent::Ended(invoked) => on_event(RenderEvent::InvocationEnded(invoked)),
            DispatchEvent::Note(note) => {
                let frames = note.chunk().map(|unit| self.chunks[unit as usize].frames);
                on_event(RenderEvent::Note { frames, note });
            }
            DispatchEvent::Status {
                running,
                retries,
                backups,
            } => {
                (self.retries, self.backups) = (retries, backups);
                let now = Progress {
                    running,
                    retries,
                    backups,
                    ..self.progress
                };
                self.progress = now;
                on_event(RenderEvent::Progress(now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::chunks::ChunkLength;

    #[test]
    fn progress_never_falls_and_ends_complete() {
        let frames = FrameRange::new(0, 30).unwrap();
        let plan = ChunkPlan::new(frames, ChunkLength::Frames(10)).unwrap();
        let unit = |done| Unit {
            frame_count: 10,
            done,
        };
        let mut tally = Tally::new(&plan, &[unit(false), unit(true), unit(false)]);
        let mut seen = Vec::new();
        let progress = |rendered, encoded| WorkerMessage::Progress { rendered, encoded };
        // The second copy of chunk 0 begins anew and even claims too much.
        for (unit, message) in [
            (0, progress(7, 5)),
            (0, progress(2, 1)),
            (2, progress(99, 99)),
        ] {
            let message = &message;
            tally.take(DispatchEvent::Message { unit, message }, &mut |_| {});
            seen.push((
                tally.progress.frames_rendered,
                tally.progress.frames_encoded,
            ));
        }
        for unit in [0, 2] {
            tally.take(DispatchEvent::Done { unit, took_ms: 5 }, &mut |_| {});
            seen.push((
                tally.progress.frames_rendered,
                tally.progress.frames_encoded,
            ));
        }
        assert_eq!(seen, [(17, 15), (17, 15), (27, 25), (30, 30), (30, 30)]);
        assert_eq!(tally.progress.chunks_done, 3);
    }
}

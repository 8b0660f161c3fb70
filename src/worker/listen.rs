//! Chunks of which only the sound counts: the page is stepped through, and no picture is taken.

use std::path::Path;
use std::time::Instant;

use super::artifacts::{Artifacts, Picture};
use super::failure::{TaskResult, at_frame, internal};
use super::milliseconds;
use super::page::Capture;
use super::sound::Report;
use super::task::{Encoded, Messages, Worker};
use crate::protocol::{ChunkTask, ChunkTimings, WorkerMessage};

impl Worker {
    /// Steps through a chunk's frames for what is heard in them. The segment is an empty file below `folder`.
    pub(super) async fn listen(
        &mut self,
        task: &ChunkTask,
        folder: &Path,
        messages: &Messages,
    ) -> TaskResult<Encoded> {
        let started = Instant::now();
        let mut report = Report::new(&folder.join("sound.ndjson"));
        let reporting = |error| internal("writing down what is heard", error);
        let mut artifacts = Artifacts::new(folder, Picture::Nothing);
        let mut lanes = self.lanes(Capture::Nothing, task, messages)?;
        let mut open_ms = None;
        for frame in task.frames.frames() {
            let drawn = lanes.next().await.map_err(at_frame(frame))?;
            open_ms.get_or_insert_with(|| milliseconds(started));
            report.add(frame, drawn.sound).map_err(reporting)?;
            artifacts
                .add(&self.tools, frame, drawn.artifacts, &drawn.picture)
                .await
                .map_err(at_frame(frame))?;
            let done = frame - task.frames.start() + 1;
            let _ = messages.try_send(WorkerMessage::Progress {
                rendered: done,
                encoded: done,
            });
        }
        self.open = lanes.finish().await?;
        let (open_ms, drawn_ms) = (open_ms.unwrap_or_default(), milliseconds(started));
        let segment = folder.join("segment");
        std::fs::write(&segment, []).map_err(|error| internal("writing the segment", error))?;
        Ok(Encoded {
            segment,
            report: report.finish().map_err(reporting)?,
            artifacts: artifacts.finish(),
            captured: None,
            timings: ChunkTimings {
                open_ms,
                capture_ms: drawn_ms - open_ms,
                ..ChunkTimings::default()
            },
            digests: Vec::new(),
        })
    }
}

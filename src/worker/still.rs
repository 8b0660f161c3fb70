//! One frame, as an image.

use super::artifacts::{Artifacts, Picture};
use super::failure::{TaskResult, at_frame, storage};
use super::page::Capture;
use super::task::{Messages, Worker, check_protocol};
use crate::cloud::PutOptions;
use crate::media::{FrameRange, ImageFormat, StillFormat};
use crate::protocol::{Answer, ChunkTask, StillTask};

impl Worker {
    pub(super) async fn still(
        &mut self,
        task: &StillTask,
        messages: &Messages,
    ) -> TaskResult<Answer> {
        check_protocol(task.page.protocol)?;
        let chunk = still_chunk(task);
        let taken = match task.format {
            StillFormat::Png => Capture::Screenshots(ImageFormat::Png, 100),
            StillFormat::Jpeg => Capture::Screenshots(ImageFormat::Jpeg, task.capture.jpeg_quality),
            StillFormat::Webp => Capture::Webp(task.capture.jpeg_quality),
            StillFormat::Pdf => Capture::Pdf,
        };
        let mut lanes = self.lanes(taken, &chunk, messages)?;
        let drawn = lanes.next().await.map_err(at_frame(task.frame))?;
        let picture = drawn.picture;
        self.open = lanes.finish().await?;
        let folder = self.folder("rmx-still-")?;
        let mut artifacts = Artifacts::new(folder.path(), Picture::Image);
        artifacts
            .add(&self.tools, task.frame, drawn.artifacts, &picture)
            .await
            .map_err(at_frame(task.frame))?;
        let artifacts = self
            .put_artifacts(&task.bucket, &task.artifacts_prefix, artifacts.finish())
            .await?;
        let size_bytes = picture.len() as u64;
        let options = PutOptions {
            content_type: Some(task.format.media_type().to_owned()),
            ..PutOptions::default()
        };
        let written = self
            .cloud()?
            .put_object(&task.bucket, &task.key, picture, &options)
            .await;
        written.map_err(|error| storage(&error))?;
        Ok(Answer::Still {
            size_bytes,
            artifacts,
        })
    }
}

/// A still is drawn as the one frame of a chunk that is never encoded.
fn still_chunk(task: &StillTask) -> ChunkTask {
    ChunkTask {
        page: task.page.clone(),
        render_id: task.render_id.clone(),
        chunk: 0,
        attempt: 1,
        every_nth_frame: 1,
        composition: task.composition.clone(),
        frames: FrameRange::new(task.frame, task.frame.saturating_add(1))
            .unwrap_or_else(|_| FrameRange::new(0, 1).expect("one frame")),
        capture: task.capture.clone(),
        encode: None,
        bucket: task.bucket.clone(),
        segment_key: task.key.clone(),
        sound_key: String::new(),
        artifacts_prefix: task.artifacts_prefix.clone(),
        digest_frames: false,
    }
}

//! What is known of a render while it goes on, and the document in the bucket that follows it.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::failure::{Failure, of_chunk};
use super::{Farm, status};
use crate::cloud::{Cloud, CloudError, PutOptions};
use crate::env::now_ms;
use crate::names::{BucketName, RenderId};
use crate::render::RenderEvent;
use crate::render::chunks::Chunk;
use crate::render::scheduler::Note;
use crate::wire::progress::{
    self, Dimensions, ErrorInfo, ErrorKind, ExpensiveRange, MediaKind, Progress, RenderMetadata,
    Retry, Timing,
};
use crate::wire::request::{DownloadBehavior, Launch, Privacy};

/// From one write of the document to the next, as the official function has it.
const WRITE_PAUSE: Duration = Duration::from_millis(250);

/// Tries of the last write: what it says is nowhere else.
const LAST_WRITE_TRIES: u32 = 5;

/// How many of the slowest chunks are named.
const EXPENSIVE_MAX: usize = 5;

/// The document, written as it changes.
#[derive(Debug)]
pub(super) struct Board {
    cloud: Cloud,
    bucket: BucketName,
    id: RenderId,
    progress: watch::Sender<Progress>,
    /// Ends with whether its last write came through.
    writer: JoinSet<bool>,
}

impl Board {
    /// Begins to follow `progress`.
    pub(super) fn new(farm: &Farm, bucket: &BucketName, id: &RenderId, progress: Progress) -> Self {
        let (progress, mut changes) = watch::channel(progress);
        changes.mark_changed();
        let mut writer = JoinSet::new();
        let (cloud, own_bucket, own_id) = (farm.cloud.clone(), bucket.clone(), id.clone());
        writer.spawn(async move {
            let mut written = false;
            // Ends when the last change is written and nothing more will change.
            while changes.changed().await.is_ok() {
                let now = changes.borrow_and_update().clone();
                let outcome = write(&cloud, &own_bucket, &own_id, &now).await;
                written = outcome.is_ok();
                if let Err(error) = outcome {
                    // The next change is written again, and the last one has tries of its own.
                    tracing::warn!("{error}");
                }
                tokio::time::sleep(WRITE_PAUSE).await;
            }
            written
        });
        Self {
            cloud: farm.cloud.clone(),
            bucket: bucket.clone(),
            id: id.clone(),
            progress,
            writer,
        }
    }

    /// Changes what is known.
    pub(super) fn change(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    /// Makes sure that the last word is written, once: who reads it may remove the render, and it must not come again. Nothing
    /// that was written before can come after it.
    ///
    /// # Errors
    /// It could not be written: nobody will hear of the render's end.
    pub(super) async fn finish(self) -> Result<Progress, CloudError> {
        let Self {
            cloud,
            bucket,
            id,
            progress,
            mut writer,
        } = self;
        let last = progress.borrow().clone();
        drop(progress);
        if let Some(Ok(true)) = writer.join_next().await {
            return Ok(last);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match write(&cloud, &bucket, &id, &last).await {
                Ok(()) => return Ok(last),
                Err(error) if tries == LAST_WRITE_TRIES => return Err(error),
                Err(_) => tokio::time::sleep(WRITE_PAUSE * tries).await,
            }
        }
    }

    /// Takes in what happens during the render.
    pub(super) fn take(&self, farm: &Farm, launch: &Launch, event: &RenderEvent<'_>) {
        match event {
            RenderEvent::Planned {
                composition,
                chunks,
                ..
            } => {
                let frames = chunks.frames();
                let request = &launch.request;
                let now = now_ms();
                self.change(|progress| {
                    progress.serve_url_opened = Some(now);
                    progress.composition_validated = Some(now);
                    let started = progress.render_metadata.as_ref();
                    let started = started.map_or(now, |metadata| metadata.started_date);
                    let scale = request.scale.unwrap_or(1.0);
                    let pixels = |side| crate::media::device_pixels(side, scale);
                    progress.render_metadata = Some(RenderMetadata {
                        site_id: request.serve_url.clone(),
                        started_date: progress.function_launched.unwrap_or(started),
                        total_chunks: chunks.len(),
                        estimated_total_lambda_invokations: chunks.len() + 1,
                        estimated_render_lambda_invokations: chunks.len(),
                        composition_id: composition.id.clone(),
                        codec: Some(request.codec.clone()),
                        kind: MediaKind::Video,
                        image_format: request.image_format.clone(),
                        input_props: request.input_props.clone(),
                        lambda_version: farm.remotion_version.clone(),
                        frames_per_lambda: chunks.frames_per_chunk(),
                        memory_size_in_mb: farm.memory_mb,
                        region: farm.region().to_owned(),
                        render_id: self.id.to_string(),
                        out_name: request.out_name.clone(),
                        output_file_is_conditional: !request.overwrite.unwrap_or(false),
                        privacy: request.privacy.unwrap_or(Privacy::Public),
                        every_nth_frame: request.every_nth_frame.unwrap_or(1),
                        frame_range: Some((frames.start(), frames.last())),
                        audio_codec: request.audio_codec.clone(),
                        delete_after: request.delete_after.clone(),
                        number_of_gif_loops: request.number_of_gif_loops,
                        download_behavior: request
                            .download_behavior
                            .clone()
                            .unwrap_or(DownloadBehavior::PlayInBrowser),
                        audio_bitrate: request.audio_bitrate.clone(),
                        muted: request.muted.unwrap_or(false),
                        metadata: request.metadata.clone(),
                        function_name: farm.function.name.to_string(),
                        renderer_function_name: farm.function.name.to_string(),
                        dimensions: Dimensions {
                            width: pixels(composition.width),
                            height: pixels(composition.height),
                        },
                        scale,
                    });
                });
            }
            RenderEvent::Progress(now) => self.change(|progress| {
                // A chunk that is tried again, or a render that is taken up, begins anew; what clients show does not go back.
                progress.frames_rendered = progress.frames_rendered.max(now.frames_rendered);
                progress.frames_encoded = progress.frames_encoded.max(now.frames_encoded);
                let invoked = now.chunks_done + now.running;
                progress.lambdas_invoked = progress.lambdas_invoked.max(invoked);
                let since = progress.function_launched.unwrap_or_else(now_ms);
                let elapsed = || now_ms().saturating_sub(since);
                if now.frames_rendered == now.frames_total {
                    progress.time_to_render_frames.get_or_insert_with(elapsed);
                }
                if now.frames_encoded == now.frames_total {
                    progress.time_to_encode.get_or_insert_with(elapsed);
                }
            }),
            // Its worker was not waited for to the end, or the document was not written any more.
            RenderEvent::ChunkFound { chunk } => self.change(|progress| {
                if !progress.chunks.contains(&chunk.index) {
                    progress.chunks.push(chunk.index);
                }
            }),
            RenderEvent::ChunkDone { chunk, took_ms } => self.change(|progress| {
                let rendered = now_ms();
                progress.chunks.push(chunk.index);
                progress.timings.push(Timing {
                    chunk: chunk.index,
                    start: rendered.saturating_sub(*took_ms),
                    rendered,
                });
            }),
            RenderEvent::Note {
                frames: Some(_),
                note: Note::Retrying { chunk, failure },
            } => self.change(|progress| {
                let before = progress
                    .retries
                    .iter()
                    .filter(|retry| retry.chunk == *chunk);
                let attempt = u32::try_from(before.count()).unwrap_or(u32::MAX) + 1;
                progress.errors.push(ErrorInfo {
                    is_fatal: false,
                    will_retry: true,
                    attempt,
                    total_attempts: attempt + 1,
                    ..of_chunk(Some(*chunk), failure)
                });
                progress.retries.push(Retry {
                    chunk: *chunk,
                    attempt,
                    time: now_ms(),
                });
            }),
            RenderEvent::Stitching { frames, .. } => {
                self.change(|progress| progress.combined_frames = *frames);
            }
            RenderEvent::Watching { .. }
            | RenderEvent::Note { .. }
            | RenderEvent::Log { .. }
            | RenderEvent::InvocationEnded(_)
            | RenderEvent::Mixing
            | RenderEvent::NotCleaned { .. } => {}
        }
    }
}

/// The slowest chunks, with their frames.
pub(super) fn most_expensive(
    progress: &Progress,
    chunks: impl Fn(u32) -> Option<Chunk>,
) -> Vec<ExpensiveRange> {
    let took = |timing: &Timing| timing.rendered.saturating_sub(timing.start);
    let mut timings = progress.timings.clone();
    timings.sort_by_key(|timing| std::cmp::Reverse(took(timing)));
    timings.truncate(EXPENSIVE_MAX);
    let ranges = timings.iter().filter_map(|timing| {
        let frames = chunks(timing.chunk)?.frames;
        Some(ExpensiveRange {
            chunk: timing.chunk,
            frame_range: (frames.start(), frames.last()),
            time_in_milliseconds: took(timing),
        })
    });
    ranges.collect()
}

/// Writes the document of a render that nobody follows yet.
pub(super) async fn put(
    farm: &Farm,
    bucket: &BucketName,
    id: &RenderId,
    progress: &Progress,
) -> Result<(), Failure> {
    Ok(write(&farm.cloud, bucket, id, progress).await?)
}

/// Adds to the document of a render that is over that nobody could be told of it.
///
/// # Errors
/// The cloud says no.
pub(super) async fn note_webhook(
    farm: &Farm,
    bucket: &BucketName,
    id: &RenderId,
    reason: &str,
) -> Result<(), Failure> {
    let key = progress::key(id);
    let Some(found) = farm.cloud.head_object(bucket, &key).await? else {
        // Its client has removed the render, and it must not come again.
        return Ok(());
    };
    let mut progress = status::read(farm, bucket, id).await?;
    let error = ErrorInfo {
        kind: ErrorKind::Webhook,
        is_fatal: false,
        ..ErrorInfo::fatal(
            "Error",
            format!("The webhook could not be told of the render's end: {reason}"),
        )
    };
    if let Some(done) = &mut progress.post_render_data {
        done.errors.push(error.clone());
    }
    progress.errors.push(error);
    let options = PutOptions {
        if_match: Some(found.etag),
        ..as_json()
    };
    let content = json(&progress);
    let written = farm.cloud.put_object(bucket, &key, content, &options).await;
    match written {
        Err(error) if error.is_not_found() => Ok(()),
        written => Ok(written.map(drop)?),
    }
}

async fn write(
    cloud: &Cloud,
    bucket: &BucketName,
    id: &RenderId,
    progress: &Progress,
) -> Result<(), CloudError> {
    let key = progress::key(id);
    let options = as_json();
    let written = cloud.put_object(bucket, &key, json(progress), &options);
    written.await.map(drop)
}

fn json(progress: &Progress) -> Bytes {
    serde_json::to_vec(progress)
        .expect("a document with text keys only can be written")
        .into()
}

fn as_json() -> PutOptions {
    PutOptions {
        content_type: Some("application/json".to_owned()),
        ..PutOptions::default()
    }
}

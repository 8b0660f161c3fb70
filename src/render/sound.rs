//! The sound of a video: made by one worker of what the workers of all chunks have reported.

use std::collections::BTreeMap;

use crate::protocol::{Answer, PROTOCOL_VERSION, SoundTask, WorkerTask};

use super::dispatch::Session;
use super::questions::Question;
use super::request::{RenderRequest, Settled};
use super::stitch::SoundSource;
use super::{RenderError, RenderEvent, RenderJob, document};

/// The sound of the whole video; nothing if nothing is heard in it, or it is to be silent.
///
/// # Errors
/// See [`RenderError`]. A sound that an earlier run has made is not made again.
pub(super) async fn make(
    request: &RenderRequest,
    job: &RenderJob,
    session: Session<'_>,
    settled: &Settled,
    on_event: &mut impl FnMut(RenderEvent<'_>),
) -> Result<Option<SoundSource>, RenderError> {
    let Some(sound) = &settled.sound else {
        return Ok(None);
    };
    let bucket = &session.workers.bucket;
    let key = document::sound_key(&job.id, sound.encode.container);
    let objects = session
        .cloud
        .list_objects(bucket, &document::sound_prefix(&job.id))
        .await?;
    let there: BTreeMap<String, u64> = objects
        .into_iter()
        .map(|object| (object.key, object.size_bytes))
        .collect();
    if let Some(size_bytes) = there.get(&key).copied() {
        return Ok(Some(SoundSource { key, size_bytes }));
    }
    let reports: Vec<String> = settled
        .chunks
        .chunks()
        .map(|chunk| document::report_key(&job.id, chunk.frames))
        .filter(|key| there.contains_key(key))
        .collect();
    if reports.is_empty() && !sound.always {
        return Ok(None);
    }
    on_event(RenderEvent::Mixing);
    let options = request.options();
    let task = WorkerTask::Sound(Box::new(SoundTask {
        protocol: PROTOCOL_VERSION,
        site: options.page.site.clone(),
        render_id: job.id.clone(),
        frames: settled.chunks.frames(),
        fps: settled.composition.fps,
        encode: sound.encode.clone(),
        bucket: bucket.clone(),
        reports,
        key: key.clone(),
    }));
    let question = Question {
        session,
        page: &options.page,
        retries: options.retries_per_chunk,
    };
    match question.ask("mixing the sound", task, on_event).await? {
        Answer::Sound { size_bytes } => Ok(Some(SoundSource { key, size_bytes })),
        _ => Err(RenderError::Answer),
    }
}

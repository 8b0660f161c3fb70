//! Request → composition → chunk plan → scheduler ⇄ workers → segments (and their sound) → stitched output.
//!
//! [`render`] reads aloud from top to bottom. The client orchestrates: no Lambda is paid for waiting, and nothing is kept
//! in memory alone that a later run could not find in the bucket, so a render whose client dies can be taken up again.

mod artifacts;
mod captured;
pub mod chunks;
pub mod dispatch;
mod document;
pub mod invocation;
mod invoked;
mod join;
mod lease;
pub mod output;
mod progress;
mod questions;
pub mod request;
pub mod scheduler;
pub mod smoke;
mod sound;
pub mod stitch;
mod tags;
mod texts;

use std::path::PathBuf;

use futures::FutureExt as _;
use tokio::time::Instant;

use crate::cloud::CloudError;
use crate::media::FrameRange;
use crate::names::RenderId;
use crate::protocol::{Answer, ChunkTask, Composition, WorkerTask};

use dispatch::{Session, Unit};
use document::RenderDocument;
use output::{OutputError, OutputFile};
use request::{RenderRequest, RequestError, Settled};
use scheduler::{ChunkFailure, RenderFailure};
use stitch::{SegmentSource, SoundSource};

pub use artifacts::{ArtifactError, ArtifactFile};
pub use captured::CaptureReport;
pub use document::{
    Begun, ResumeError, begun, is_begun, is_work, launch_key, new_render_id, props_key, remove_work,
};
pub use invoked::{Invoked, Made};
pub use join::{JoinError, Joining};
pub use lease::Lease;
pub use progress::{Progress, RenderEvent};
pub use questions::{StillOutput, compositions, still};

/// How a render is carried out, beside what it is of.
#[derive(Debug)]
pub struct RenderJob {
    /// Its id.
    pub id: RenderId,
    /// Whether it was begun before and is to be taken up.
    pub resume: bool,
    /// Leave segments and document in the bucket after success.
    pub keep_segments: bool,
    /// Where the video goes.
    pub output: OutputFile,
    /// ffmpeg on this machine, if it has one: see [`Joining::needs_ffmpeg`].
    pub ffmpeg: Option<PathBuf>,
    /// The folder for files that the page emits.
    pub artifacts_folder: PathBuf,
}

/// A finished render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderOutput {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Frames in it.
    pub frame_count: u64,
    /// What was resolved, rendered and stitched, and how long each took.
    pub timings: RenderTimings,
    /// Chunks, and how many of them had been there from before.
    pub chunks: u32,
    /// Of these, taken over from before.
    pub chunks_resumed: u32,
    /// Retries.
    pub retries: u32,
    /// Backup copies.
    pub backups: u32,
    /// The chunk that took longest from its invocation to its end, and how long.
    pub slowest: Option<(FrameRange, u64)>,
    /// How its frames were captured.
    pub captured: CaptureReport,
    /// Files that the page emitted.
    pub artifacts: Vec<ArtifactFile>,
}

/// Wall time of a render's phases, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RenderTimings {
    /// Resolving the composition.
    pub resolve_ms: u64,
    /// Rendering all chunks.
    pub render_ms: u64,
    /// Mixing and encoding the sound.
    pub sound_ms: u64,
    /// Stitching.
    pub stitch_ms: u64,
}

/// Why there is no video.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// What was asked for cannot be done.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The site has no such composition.
    #[error("the site has no composition `{asked}`")]
    UnknownComposition {
        /// What was asked for.
        asked: String,
        /// The ids there are, the most similar ones first.
        known: Vec<String>,
    },
    /// A worker could not do what it was asked.
    #[error("{what} failed")]
    Work {
        /// What was being done.
        what: &'static str,
        /// The frames of the chunk, if it was one.
        frames: Option<FrameRange>,
        /// Why.
        failure: Box<RenderFailure>,
    },
    /// A worker answered something else than it was asked.
    #[error(
        "a worker answered something else than it was asked; rmx and its workers are of different versions"
    )]
    Answer,
    /// The render cannot be taken up.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// Another run works on it.
    #[error("{holder} works on the render `{id}`")]
    Busy {
        /// The render.
        id: RenderId,
        /// Who, and since when.
        holder: String,
    },
    /// This run was silent for so long that another one has taken the render up.
    #[error("another run has taken up the render `{0}`, for this one was silent for too long")]
    TakenOver(RenderId),
    /// It could not be found out whether another run has taken the render up.
    #[error(
        "whether another run has taken up the render `{0}` cannot be told: the bucket does not answer"
    )]
    Unsure(RenderId),
    /// The video is whole, and what its pages have emitted was not brought here.
    #[error("the video is whole, and the files that its pages emit could not be kept")]
    WithoutArtifacts {
        /// The video.
        video: PathBuf,
        /// Why.
        #[source]
        error: Box<RenderError>,
    },
    /// What the pages emit cannot become files.
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    /// The cloud says no.
    #[error("{0}")]
    Cloud(#[from] CloudError),
    /// The segments do not make a video.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl RenderError {
    fn cancelled(what: &'static str) -> Self {
        Self::Work {
            what,
            frames: None,
            failure: Box::new(RenderFailure::Cancelled),
        }
    }
}

/// Renders a video. `holder` works on it, as others who want to are told.
///
/// # Errors
/// See [`RenderError`]. Segments that are done stay in the bucket, and the same id can be taken up.
pub async fn render(
    request: &RenderRequest,
    job: RenderJob,
    holder: &str,
    session: Session<'_>,
    mut on_event: impl FnMut(RenderEvent<'_>),
) -> Result<RenderOutput, RenderError> {
    let lease = Lease::take(session, &job.id, holder, &mut on_event).await?;
    let outcome = render_under(&lease, request, job, session, &mut on_event).await;
    lease.release().await;
    outcome
}

/// Renders a video for a run that has the render's lease, and leaves it the lease for what remains to be done.
///
/// # Errors
/// As for [`render`].
pub async fn render_under(
    lease: &Lease,
    request: &RenderRequest,
    job: RenderJob,
    session: Session<'_>,
    mut on_event: impl FnMut(RenderEvent<'_>),
) -> Result<RenderOutput, RenderError> {
    if request.joining().needs_ffmpeg() && job.ffmpeg.is_none() {
        return Err(JoinError::NoFfmpeg(request.options().encode.container).into());
    }
    let began = Instant::now();
    let composition = begin(request, &job, session, &mut on_event).await?;
    let settled = request.settle(composition)?;
    on_event(RenderEvent::Planned {
        composition: &settled.composition,
        chunks: &settled.chunks,
        codec: settled.codec,
        encode: settled.encode.as_ref(),
    });
    let resolved = Instant::now();

    let mut segments = Segments::of_earlier_runs(&job, session, &settled).await?;
    let work = segments
        .render_missing(request, &job, session, &settled, &mut on_event)
        .await?;
    let artifacts = segments.artifacts(&job, session).await?;
    let rendered = Instant::now();

    let sound = sound::make(request, &job, session, &settled, &mut on_event).await?;
    let mixed = Instant::now();

    let size_bytes = tokio::select! {
        biased;
        () = session.cancel.cancelled() => return Err(RenderError::cancelled("stitching")),
        joined = segments.join(sound.as_ref(), &job, session, &settled, &mut on_event) => joined?,
    };
    lease.check().await?;
    let path = job.output.commit()?;
    let artifacts = artifacts::fetch_beside(&path, session, artifacts, &job.artifacts_folder);
    let artifacts = artifacts.await?;
    // Another run may have taken the render up meanwhile. Then it needs all that there is.
    if !job.keep_segments
        && lease.check().await.is_ok()
        && let Err(error) = document::remove(session.cloud, &session.workers.bucket, &job.id).await
    {
        on_event(RenderEvent::NotCleaned { error: &error });
    }
    Ok(RenderOutput {
        path,
        size_bytes,
        frame_count: u64::from(settled.chunks.shown()),
        timings: RenderTimings {
            resolve_ms: milliseconds(began, resolved),
            render_ms: milliseconds(resolved, rendered),
            sound_ms: milliseconds(rendered, mixed),
            stitch_ms: milliseconds(mixed, Instant::now()),
        },
        chunks: settled.chunks.len(),
        chunks_resumed: segments.resumed,
        retries: work.retries,
        backups: work.backups,
        slowest: work.slowest,
        captured: segments.captured,
        artifacts,
    })
}

/// The composition: of the document of a render that is taken up, or resolved now and written into one.
async fn begin(
    request: &RenderRequest,
    job: &RenderJob,
    session: Session<'_>,
    on_event: &mut impl FnMut(RenderEvent<'_>),
) -> Result<Composition, RenderError> {
    let Session { cloud, workers, .. } = session;
    let parts = document::parts(request.identity(), workers);
    let options = request.options();
    let running = |settled: &Settled| {
        document::running(workers, settled.chunks.len(), options.retries_per_chunk)
    };
    if job.resume {
        let document = RenderDocument::load(cloud, &workers.bucket, &job.id, &parts).await?;
        let composition = document.composition.clone();
        let document = document.again(running(&request.settle(composition.clone())?));
        document.save(cloud, &workers.bucket, &job.id).await?;
        return Ok(composition);
    }
    let question = questions::Question {
        session,
        page: &options.page,
        retries: options.retries_per_chunk,
    };
    let composition = question.resolve(&options.composition, on_event).await?;
    // What cannot be rendered anyway leaves no document behind.
    let settled = request.settle(composition.clone())?;
    let document = RenderDocument::new(parts, composition.clone(), running(&settled));
    document.save(cloud, &workers.bucket, &job.id).await?;
    Ok(composition)
}

/// The segments of a render, each in its chunk's place.
#[derive(Debug)]
struct Segments {
    sizes: Vec<Option<u64>>,
    resumed: u32,
    captured: CaptureReport,
    /// Files that the pages of this run have emitted.
    artifacts: u32,
}

impl Segments {
    async fn of_earlier_runs(
        job: &RenderJob,
        session: Session<'_>,
        settled: &Settled,
    ) -> Result<Self, CloudError> {
        let sizes = if job.resume {
            document::segments_there(
                session.cloud,
                &session.workers.bucket,
                &job.id,
                &settled.chunks,
                settled.encode.as_ref(),
            )
            .await?
        } else {
            settled.chunks.chunks().map(|_| None).collect()
        };
        let resumed = sizes.iter().flatten().count();
        Ok(Self {
            sizes,
            resumed: u32::try_from(resumed).unwrap_or(u32::MAX),
            captured: CaptureReport::new(settled.no_framebuffer),
            artifacts: 0,
        })
    }

    async fn render_missing(
        &mut self,
        request: &RenderRequest,
        job: &RenderJob,
        session: Session<'_>,
        settled: &Settled,
        on_event: &mut impl FnMut(RenderEvent<'_>),
    ) -> Result<progress::Tally, RenderError> {
        let chunks: Vec<_> = settled.chunks.chunks().collect();
        let units: Vec<Unit> = chunks
            .iter()
            .zip(&self.sizes)
            .map(|(chunk, size)| Unit {
                frame_count: chunk.shown,
                done: size.is_some(),
            })
            .collect();
        let options = request.options();
        let encode = settled.encode.as_ref();
        let task = |index: u32, attempt| {
            let chunk = chunks[index as usize];
            WorkerTask::Chunk(Box::new(ChunkTask {
                page: options.page.task(),
                render_id: job.id.clone(),
                chunk: index,
                attempt,
                composition: settled.composition.clone(),
                frames: chunk.frames,
                every_nth_frame: options.every_nth_frame,
                capture: settled.capture.clone(),
                encode: settled.encode.clone(),
                bucket: session.workers.bucket.clone(),
                segment_key: document::segment_key(&job.id, chunk.frames, encode),
                sound_key: document::report_key(&job.id, chunk.frames),
                artifacts_prefix: document::artifact_prefix(&job.id),
                digest_frames: false,
            }))
        };
        for (chunk, _) in chunks.iter().zip(&units).filter(|(_, unit)| unit.done) {
            on_event(RenderEvent::ChunkFound { chunk: *chunk });
        }
        let mut tally = progress::Tally::new(&settled.chunks, &units);
        let limits = session
            .workers
            .limits(settled.chunks.len(), options.retries_per_chunk);
        let answers = dispatch::run(session, limits, &units, task, |event| {
            tally.take(event, on_event);
        })
        .await
        .map_err(|failure| RenderError::Work {
            what: "rendering",
            frames: failure.chunk().map(|index| chunks[index as usize].frames),
            failure: Box::new(failure),
        })?;
        for (size, answer) in self.sizes.iter_mut().zip(answers) {
            match answer {
                None => {}
                Some(Answer::Segment(segment)) => {
                    *size = Some(segment.size_bytes);
                    if let Some(captured) = segment.captured {
                        self.captured.add(captured);
                    }
                    self.artifacts += segment.artifacts;
                }
                Some(_) => return Err(RenderError::Answer),
            }
        }
        Ok(tally)
    }

    /// What the pages have emitted, in this run or in earlier ones.
    async fn artifacts(
        &self,
        job: &RenderJob,
        session: Session<'_>,
    ) -> Result<Vec<artifacts::Found>, RenderError> {
        if self.artifacts == 0 && self.resumed == 0 {
            return Ok(Vec::new());
        }
        artifacts::find(session.cloud, &session.workers.bucket, &job.id).await
    }

    async fn join(
        &self,
        sound: Option<&SoundSource>,
        job: &RenderJob,
        session: Session<'_>,
        settled: &Settled,
        on_event: &mut impl FnMut(RenderEvent<'_>),
    ) -> Result<u64, JoinError> {
        let sources: Vec<SegmentSource> = settled
            .chunks
            .chunks()
            .zip(&self.sizes)
            .map(|(chunk, size)| SegmentSource {
                key: document::segment_key(&job.id, chunk.frames, settled.encode.as_ref()),
                size_bytes: size.unwrap_or(0),
                frame_count: chunk.shown,
            })
            .collect();
        let (cloud, bucket) = (session.cloud, &session.workers.bucket);
        let open = move |key: String, range| {
            async move { cloud.read_object(bucket, &key, Some(range)).await }.boxed()
        };
        let frames_total = u64::from(settled.chunks.shown());
        on_event(RenderEvent::Stitching {
            frames: 0,
            frames_total,
        });
        let parts = join::Parts {
            codec: settled.codec,
            container: settled.container,
            header: &settled.header,
            gif_loops: settled.gif_loops,
            segments: &sources,
            sound,
            open: &open,
            path: job.output.part(),
            scratch: &job.output.scratch(),
        };
        join::join(settled.joining, parts, job.ffmpeg.as_deref(), |frames| {
            on_event(RenderEvent::Stitching {
                frames,
                frames_total,
            });
        })
        .await
    }
}

fn milliseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from((to - from).as_millis()).unwrap_or(u64::MAX)
}

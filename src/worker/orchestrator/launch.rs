//! `launch`: the render itself, from its request to its output in the bucket.
//!
//! Lambda repeats the event of a function that dies, and may deliver any event twice. What is in the bucket by then is taken up,
//! as by `rmx render --resume`. One invocation at a time has the render's lease, from the first look to what comes after the
//! last word: so two of them never tell different ends, and none removes what another one works with.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::board::{self, Board, most_expensive};
use super::deliver::{self, Wishes};
use super::failure::Failure;
use super::{Farm, note_invocation, request, site, status, webhook};
use crate::cloud::PutOptions;
use crate::env::{Env, Tool, now_ms};
use crate::media::Codec;
use crate::names::{BucketName, RenderId};
use crate::render::chunks::ChunkPlan;
use crate::render::dispatch::Session;
use crate::render::output::OutputFile;
use crate::render::{
    self, Lease, RenderError, RenderEvent, RenderJob, RenderOutput, is_begun, remove_work,
};
use crate::wire::cost::billed_ms;
use crate::wire::output::{Place, default_name, disposition};
use crate::wire::progress::{self, Artifact, FinalCost, PostRenderData, Progress};
use crate::wire::request::{Launch, Start};
use crate::wire::webhook::Subject;

/// How often it is looked whether a client has cancelled the render.
const CANCEL_PAUSE: Duration = Duration::from_secs(1);

/// What is kept of the function's time so that a webhook is told of a render that had none left.
const TELLING: Duration = Duration::from_secs(5);

/// What `request` says of its output.
pub(super) fn wishes(request: &Start) -> Wishes<'_> {
    Wishes {
        bucket_name: request.bucket_name.as_deref(),
        out_name: request.out_name.as_ref(),
        privacy: request.privacy,
        delete_after: request.delete_after.as_deref(),
        storage_class: request.storage_class.as_deref(),
    }
}

/// Where the output of `request` goes.
///
/// # Errors
/// It cannot go there.
pub(super) fn place(farm: &Farm, id: &RenderId, request: &Start) -> Result<Place, Failure> {
    let name = default_name(&request.codec, request.audio_codec.as_deref());
    wishes(request).place(farm, id, &name)
}

/// Renders, and tells of it to the end, whatever that is: in the progress document, and then to whoever the client named.
///
/// # Errors
/// The end could not be told. Lambda repeats the event then.
pub(super) async fn launch(farm: &Farm, env: &Env, launch: Launch) -> Result<(), Failure> {
    let id: RenderId = launch.render_id.parse()?;
    let bucket: BucketName = launch.bucket_name.parse()?;
    note_invocation(format_args!("method=launch,renderId={id},"));
    let workers = farm.workers();
    let cancel = CancellationToken::new();
    let session = Session {
        cloud: &farm.cloud,
        workers: &workers,
        cancel: &cancel,
    };
    let holder = format!("the function {}", farm.function.name);
    let mut unheard = |_: RenderEvent<'_>| {};
    let taken = timeout(
        farm.left(),
        Lease::take(session, &id, &holder, &mut unheard),
    );
    let lease = match taken.await {
        Err(_) => return Err(Failure::NoTime(farm.timeout_s)),
        Ok(Err(RenderError::Busy { .. })) => return Ok(()),
        Ok(taken) => taken?,
    };
    let outcome = to_the_end(farm, env, &launch, (&bucket, &id), (session, &lease)).await;
    lease.release().await;
    match outcome {
        Err(Failure::Render(error)) if matches!(*error, RenderError::TakenOver(_)) => Ok(()),
        outcome => outcome,
    }
}

/// The same, for who has the lease.
async fn to_the_end(
    farm: &Farm,
    env: &Env,
    launch: &Launch,
    (bucket, id): (&BucketName, &RenderId),
    (session, lease): (Session<'_>, &Lease),
) -> Result<(), Failure> {
    let progress = match status::read(farm, bucket, id).await {
        // Its client has removed it before it began.
        Err(Failure::NoRender { .. }) => return Ok(()),
        read => read?,
    };
    let last = match progress.is_over() {
        // The event is repeated because of what should have come after the end.
        true => progress,
        false => {
            let orchestration = Orchestration {
                farm,
                env,
                launch,
                id,
                session,
                lease,
            };
            orchestration.carry_out(bucket, progress).await?
        }
    };
    // Not before it is told that the video is there: who finds nothing of a render that goes on begins anew.
    if last.post_render_data.is_some()
        && let Err(error) = remove_work(&farm.cloud, &farm.bucket, id).await
    {
        // It costs what it weighs until the bucket's rule removes it, and the video is there.
        tracing::warn!("{error}");
    }
    if let Some(webhook) = &launch.request.webhook {
        let subject = Subject {
            render_id: id.as_str(),
            bucket: bucket.as_str(),
            account: &farm.account,
        };
        let letter = webhook.letter(&last, subject);
        if let Err(reason) = webhook::send(farm, env, &webhook.url, &letter).await {
            board::note_webhook(farm, bucket, id, &reason).await?;
        }
    }
    Ok(())
}

/// A render that goes on.
#[derive(Clone, Copy)]
struct Orchestration<'a> {
    farm: &'a Farm,
    env: &'a Env,
    launch: &'a Launch,
    id: &'a RenderId,
    session: Session<'a>,
    lease: &'a Lease,
}

impl Orchestration<'_> {
    /// Renders, and returns the last word of the progress document.
    async fn carry_out(
        self,
        bucket: &BucketName,
        mut progress: Progress,
    ) -> Result<Progress, Failure> {
        let farm = self.farm;
        progress.function_launched = Some(now_ms());
        progress.timeout_timestamp = farm.deadline_ms;
        let board = Board::new(farm, bucket, self.id, progress);
        let left = match &self.launch.request.webhook {
            None => farm.left(),
            Some(_) => farm.left().saturating_sub(TELLING),
        };
        let ended = tokio::select! {
            ended = self.run(&board) => ended,
            () = sleep(left) => Err(Failure::NoTime(farm.timeout_s)),
        };
        if let Err(failure) = ended {
            // Who has lost the render does not tell how it ends.
            self.lease.check().await?;
            let error = failure.info();
            tracing::error!("{}", error.stack);
            board.change(|progress| {
                progress.fatal_error_timestamp = Some(now_ms());
                progress.errors.push(error);
            });
        }
        Ok(board.finish().await?)
    }

    async fn run(self, board: &Board) -> Result<(), Failure> {
        let Self { farm, launch, .. } = self;
        let request = &launch.request;
        let place = place(farm, self.id, request)?;
        let location = site::location(farm, &request.serve_url).await?;
        let props = site::adopted_props(farm, self.id, &request.input_props).await?;
        let render_request = request::render_request(request, location, props)?;
        let resume = is_begun(&farm.cloud, &farm.bucket, self.id).await?;
        let overwrite = request.overwrite.unwrap_or(false);
        // What is there when a render is taken up may be its own.
        if !overwrite && !resume && self.is_there(&place).await? {
            return Err(Failure::Exists(place));
        }
        let scratch = deliver::scratch(self.env)?;
        let name = place.key.rsplit('/').next().unwrap_or("out");
        let job = RenderJob {
            id: self.id.clone(),
            resume,
            keep_segments: true,
            output: OutputFile::create(&scratch.path().join("output").join(name), true)?,
            ffmpeg: self.env.find_tool(Tool::Ffmpeg),
            artifacts_folder: scratch.path().join("artifacts"),
        };
        let mut plan = None;
        let on_event = |event: RenderEvent<'_>| {
            if let RenderEvent::Planned { chunks, .. } = &event {
                plan = Some((*chunks).clone());
            }
            board.take(farm, launch, &event);
        };
        let (lease, session) = (self.lease, self.session);
        let output = tokio::select! {
            output = render::render_under(lease, &render_request, job, session, on_event) => output?,
            never = self.look_for_cancel() => match never {},
        };
        let began_ms = now_ms();
        self.upload(&place, &output, overwrite || resume).await?;
        let behavior = request.download_behavior.as_ref();
        let artifacts = deliver::artifacts(farm, self.id, &output.artifacts, behavior).await?;
        let uploaded_ms = now_ms().saturating_sub(began_ms);
        self.lease.check().await?;
        self.tell(
            board,
            &place,
            &output,
            plan.as_ref(),
            (artifacts, uploaded_ms),
        );
        Ok(())
    }

    async fn is_there(&self, place: &Place) -> Result<bool, Failure> {
        let found = self
            .farm
            .cloud
            .head_object(&place.bucket, &place.key)
            .await?;
        Ok(found.is_some())
    }

    /// Cancels the render when a client says so. Never returns.
    async fn look_for_cancel(self) -> std::convert::Infallible {
        let key = progress::cancel_key(self.id);
        let (cloud, bucket) = (&self.farm.cloud, &self.farm.bucket);
        while self.launch.request.enable_cancellation == Some(true) {
            if let Ok(Some(_)) = cloud.head_object(bucket, &key).await {
                self.session.cancel.cancel();
                break;
            }
            sleep(CANCEL_PAUSE).await;
        }
        std::future::pending().await
    }

    async fn upload(
        &self,
        place: &Place,
        output: &RenderOutput,
        overwrite: bool,
    ) -> Result<(), Failure> {
        let request = &self.launch.request;
        let codec: Codec = request::required("codec", &request.codec)?;
        let options = PutOptions {
            content_type: Some(request::container(request, codec)?.media_type().to_owned()),
            content_disposition: disposition(request.download_behavior.as_ref()),
            if_absent: !overwrite,
            ..PutOptions::default()
        };
        deliver::output(self.farm, place, &output.path, options).await
    }

    /// Tells that the render is done.
    fn tell(
        self,
        board: &Board,
        place: &Place,
        output: &RenderOutput,
        plan: Option<&ChunkPlan>,
        (artifacts, uploaded_ms): (Vec<Artifact>, u64),
    ) {
        let rates = self.farm.rates;
        let chunk = |index: u32| plan?.chunks().nth(index as usize);
        board.change(|progress| {
            let end_time = now_ms();
            let start_time = progress.function_launched.unwrap_or(end_time);
            let elapsed_ms = end_time.saturating_sub(start_time);
            let billed = billed_ms(&progress.timings, progress.lambdas_invoked, elapsed_ms);
            let cost = rates.cost(billed, progress.lambdas_invoked + 2);
            let time_to_combine = output.timings.stitch_ms + uploaded_ms;
            progress.time_to_combine = Some(time_to_combine);
            progress.received_artifact.clone_from(&artifacts);
            progress.post_render_data = Some(PostRenderData {
                cost: FinalCost {
                    currency: cost.currency,
                    disclaimer: cost.disclaimer,
                    estimated_cost: cost.accrued_so_far,
                    estimated_display_cost: cost.display_cost,
                },
                output_file: place.url(self.farm.region()),
                time_to_finish: elapsed_ms,
                errors: progress.errors.clone(),
                start_time,
                end_time,
                output_size: output.size_bytes,
                render_size: output.size_bytes,
                files_cleaned_up: 0,
                time_to_encode: progress.time_to_encode.unwrap_or(0),
                time_to_clean_up: 0,
                time_to_render_chunks: progress.chunks_ms(),
                time_to_render_frames: progress.time_to_render_frames.unwrap_or(0),
                time_to_combine,
                retries_info: progress.retries.clone(),
                most_expensive_frame_ranges: most_expensive(progress, chunk),
                estimated_billing_duration_in_milliseconds: billed,
                delete_after: self.launch.request.delete_after.clone(),
                artifact_progress: artifacts,
            });
        });
    }
}

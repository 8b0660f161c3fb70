//! `still`: one frame, from its request to its image in the bucket, within one invocation.

use lambda_runtime::streaming::Sender;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::deliver::{self, Wishes};
use super::failure::Failure;
use super::{Farm, board, note_invocation, request, site};
use crate::cloud::PutOptions;
use crate::env::{Env, now_ms};
use crate::media::{StillFormat, device_pixels};
use crate::names::RenderId;
use crate::render::dispatch::Session;
use crate::render::output::OutputFile;
use crate::render::{self, StillOutput};
use crate::wire::output::{disposition, expanded};
use crate::wire::progress::{Dimensions, MediaKind, Progress, RenderMetadata};
use crate::wire::request::{DownloadBehavior, Privacy, Still};
use crate::wire::stream::{StillFailure, StillMessage, StillReply, Success};

/// What Lambda adds to an invocation, by Remotion's estimate.
const INVOCATION_MS: u64 = 100;

/// Workers that are asked: for the composition, and for its frame; and this invocation.
const INVOCATIONS: u32 = 3;

/// Renders, and says at once under which id and in the end how that came out.
///
/// # Errors
/// Nobody listens any more, or there is nothing that could be said.
pub(super) async fn streamed(
    farm: &Farm,
    env: &Env,
    request: &Still,
    to: &mut Sender,
) -> Result<(), lambda_runtime::Error> {
    let render_id = wishes(request).render_id();
    let begun = StillMessage::Begun {
        render_id: render_id.to_string(),
    };
    to.send_data(begun.bytes()?.into()).await?;
    let last = match within(farm, env, &render_id, request).await {
        Ok(reply) => StillMessage::Rendered(Box::new(reply)),
        Err(failure) => failed(&failure),
    };
    to.send_data(last.bytes()?.into()).await?;
    Ok(())
}

/// What is said of a still that failed.
pub(super) fn failed(failure: &Failure) -> StillMessage {
    let error_info = failure.info();
    StillMessage::Failed(Box::new(StillFailure {
        error: error_info.stack.clone(),
        should_retry: false,
        error_info,
    }))
}

/// Renders, for clients that take one answer.
pub(super) async fn buffered(farm: &Farm, env: &Env, request: &Still) -> Result<Value, Failure> {
    let id = wishes(request).render_id();
    super::reply(within(farm, env, &id, request).await?)
}

/// Renders within the time that is left.
async fn within(
    farm: &Farm,
    env: &Env,
    id: &RenderId,
    request: &Still,
) -> Result<StillReply, Failure> {
    let began_ms = now_ms();
    note_invocation(format_args!("method=still,renderId={id},"));
    let rendered = timeout(farm.left(), render(farm, env, id, request)).await;
    let forgotten = site::forget_props(farm, &request.input_props).await;
    if let Err(error) = forgotten {
        tracing::warn!("{error}");
    }
    let mut reply = rendered.unwrap_or(Err(Failure::NoTime(farm.timeout_s)))?;
    // A worker and the one who waits for it are billed.
    let billed_ms = 2 * (now_ms().saturating_sub(began_ms) + INVOCATION_MS);
    reply.estimated_price = farm.rates.cost(billed_ms, INVOCATIONS);
    Ok(reply)
}

async fn render(
    farm: &Farm,
    env: &Env,
    id: &RenderId,
    request: &Still,
) -> Result<StillReply, Failure> {
    let format: StillFormat = match &request.image_format {
        None => StillFormat::Png,
        Some(format) => request::required("imageFormat", format)?,
    };
    let wishes = wishes(request);
    wishes.check(&farm.bucket)?;
    let place = wishes.place(farm, id, &format!("out.{format}"))?;
    deliver::check(farm, &place).await?;
    let serve_url = expanded(&request.serve_url, &farm.bucket, farm.region());
    let location = site::location(farm, &serve_url).await?;
    let props = site::input_props(farm, &request.input_props).await?;
    let still_request = request::still_request(request, format, location, props)?;
    let scratch = deliver::scratch(env)?;
    let image = scratch.path().join(format!("still.{format}"));
    let session = Session {
        cloud: &farm.cloud,
        workers: &farm.workers(),
        cancel: &CancellationToken::new(),
    };
    let StillOutput {
        composition,
        size_bytes,
        artifacts,
    } = render::still(
        &still_request,
        OutputFile::create(&image, true)?,
        &scratch.path().join("artifacts"),
        session,
        |_| {},
    )
    .await?;
    let behavior = request.download_behavior.as_ref();
    let options = PutOptions {
        content_type: Some(format.media_type().to_owned()),
        content_disposition: disposition(behavior),
        ..PutOptions::default()
    };
    let received_artifacts = deliver::artifacts(farm, id, &artifacts, behavior).await?;
    // Before the image: whoever finds one can delete it by its document.
    let scale = request.scale.unwrap_or(1.0);
    let dimensions = Dimensions {
        width: device_pixels(composition.width, scale),
        height: device_pixels(composition.height, scale),
    };
    let mut progress = Progress::begun(false, farm.deadline_ms);
    progress.received_artifact.clone_from(&received_artifacts);
    progress.render_metadata = Some(metadata(farm, id, request, format, dimensions));
    board::put(farm, &farm.bucket, id, &progress).await?;
    deliver::output(farm, &place, &image, options).await?;
    Ok(StillReply {
        kind: Success::Success,
        output: place.url(farm.region()),
        out_key: place.key.clone(),
        size: size_bytes,
        size_in_bytes: size_bytes,
        bucket_name: place.bucket.to_string(),
        estimated_price: farm.rates.cost(0, INVOCATIONS),
        render_id: id.to_string(),
        received_artifacts,
    })
}

fn wishes(request: &Still) -> Wishes<'_> {
    Wishes {
        bucket_name: request.bucket_name.as_deref(),
        out_name: request.out_name.as_ref(),
        privacy: request.privacy,
        delete_after: request.delete_after.as_deref(),
        storage_class: request.storage_class.as_deref(),
    }
}

fn metadata(
    farm: &Farm,
    id: &RenderId,
    request: &Still,
    format: StillFormat,
    dimensions: Dimensions,
) -> RenderMetadata {
    RenderMetadata {
        site_id: request.serve_url.clone(),
        started_date: now_ms(),
        total_chunks: 1,
        estimated_total_lambda_invokations: 1,
        estimated_render_lambda_invokations: 1,
        composition_id: request.composition.clone(),
        codec: None,
        kind: MediaKind::Still,
        image_format: Some(format.to_string()),
        input_props: request.input_props.clone(),
        lambda_version: farm.remotion_version.clone(),
        frames_per_lambda: 1,
        memory_size_in_mb: farm.memory_mb,
        region: farm.region().to_owned(),
        render_id: id.to_string(),
        out_name: request.out_name.clone(),
        output_file_is_conditional: false,
        privacy: request.privacy.unwrap_or(Privacy::Public),
        every_nth_frame: 1,
        frame_range: None,
        audio_codec: None,
        delete_after: request.delete_after.clone(),
        number_of_gif_loops: None,
        download_behavior: request
            .download_behavior
            .clone()
            .unwrap_or(DownloadBehavior::PlayInBrowser),
        audio_bitrate: None,
        muted: true,
        metadata: None,
        function_name: farm.function.name.to_string(),
        renderer_function_name: farm.function.name.to_string(),
        dimensions,
        scale: request.scale.unwrap_or(1.0),
    }
}

//! `start`: gives a render its id, and has it launched.

use bytes::Bytes;

use super::board::put;
use super::failure::Failure;
use super::launch::{place, wishes};
use super::{Farm, deliver, note_invocation, request, site};
use crate::cloud::PutOptions;
use crate::names::RenderId;
use crate::render::launch_key;
use crate::wire::StartReply;
use crate::wire::output::expanded;
use crate::wire::progress::Progress;
use crate::wire::request::{Launch, Start};

/// The largest event that clients of other functions could send on, in characters as JavaScript counts them. Lambda takes a
/// megabyte, so this is the tighter bound.
const EVENT_BYTES_MAX: usize = 1_000_000;

/// Checks what can be told at once, so that the client hears of it in the answer; then writes the progress document and invokes
/// this function anew.
///
/// # Errors
/// What is asked for cannot be rendered. Nothing is left of it then, nor of props that the client has put into the bucket.
pub(super) async fn start(farm: &Farm, request: Start) -> Result<StartReply, Failure> {
    let props = request.input_props.clone();
    let begun = begin(farm, request).await;
    if begun.is_err()
        && let Err(error) = site::forget_props(farm, &props).await
    {
        tracing::warn!("{error}");
    }
    begun
}

async fn begin(farm: &Farm, request: Start) -> Result<StartReply, Failure> {
    let request = Start {
        serve_url: expanded(&request.serve_url, &farm.bucket, farm.region()),
        ..request
    };
    let location = site::location(farm, &request.serve_url).await?;
    request::render_request(&request, location, "{}".to_owned())?;
    if let Some(other) = request.renderer_function_name.as_deref()
        && other != farm.function.name.as_str()
    {
        return Err(Failure::not_yet(
            "rendererFunctionName",
            "leave it out, and the function's own workers render",
        ));
    }
    wishes(&request).check(&farm.bucket)?;
    let id = wishes(&request).render_id();
    deliver::check(farm, &place(farm, &id, &request)?).await?;
    let bucket = &farm.bucket;
    let progress = Progress::begun(
        request.enable_cancellation.unwrap_or(false),
        farm.deadline_ms,
    );
    let props = request.input_props.clone();
    let launch = Launch {
        render_id: id.to_string(),
        bucket_name: bucket.to_string(),
        function_name: farm.function.name.to_string(),
        function_version: farm.function.version.clone(),
        request,
    };
    let payload = launch.payload().to_string();
    if payload.len() > EVENT_BYTES_MAX {
        let reason = format!(
            "with all other options they make an event of {} bytes, and Lambda takes {EVENT_BYTES_MAX}",
            payload.len()
        );
        return Err(Failure::option("inputProps", reason));
    }
    note_invocation(format_args!("method=start,renderId={id},"));
    site::adopt_props(farm, &id, &props).await?;
    // In this order: whoever is answered finds the documents.
    tokio::try_join!(
        put(farm, bucket, &id, &progress),
        keep(farm, &id, launch.without_secrets())
    )?;
    let (name, version) = (&farm.function.name, &farm.function.version);
    farm.cloud
        .invoke_event(name, version, Bytes::from(payload).into())
        .await?;
    Ok(StartReply::new(bucket.as_str(), id.as_str()))
}

/// Keeps what is rendered in the bucket: whoever takes the render up again asks for the same.
async fn keep(farm: &Farm, id: &RenderId, launch: Launch) -> Result<(), Failure> {
    let content = launch.payload().to_string().into();
    let options = PutOptions {
        content_type: Some("application/json".to_owned()),
        ..PutOptions::default()
    };
    let key = launch_key(id);
    let put = farm.cloud.put_object(&farm.bucket, &key, content, &options);
    Ok(put.await.map(drop)?)
}

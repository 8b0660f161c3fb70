//! `rmx renders delete`: a render that has ended, and everything of it.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::found::Found;
use super::objects::{objects_of, remove_objects};
use super::{RENDERS, told};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandErrorKind};
use crate::cli::farm::Farm;
use crate::config::WorkerKind;
use crate::env::now_ms;
use crate::names::{BucketName, RenderId};

/// For how long nothing may be written for a render of Remotion's function that has failed until it counts as ended: its workers go on
/// for some time after a cancel, and the document is written again as they get on.
const QUIET: Duration = Duration::from_secs(10);

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(500);

/// Deletes a render and its output.
///
/// # Errors
/// It goes on, nobody agrees, or a call fails.
pub(super) async fn delete(
    context: &Context,
    farm: &Farm,
    bucket: &BucketName,
    worker: WorkerKind,
    (id, auto_approve): (&RenderId, bool),
) -> Result<(), CommandError> {
    let found = Found::required(farm, bucket, id).await?;
    if found.is_running() {
        return Err(CommandError::error(format!("The render {id} goes on"))
            .hint(format!("cancel it first: rmx renders cancel {id}")));
    }
    let elsewhere = found.output_elsewhere(bucket);
    let mut objects = objects_of(farm, bucket, id).await?;
    objects.extend(elsewhere.clone());
    let question = format!("Delete {} objects of the render {id}?", objects.len());
    if !auto_approve && !context.ui.confirm(&question, "--auto-approve").await? {
        return Err(CommandError::not_agreed("Nothing is deleted"));
    }
    if worker == WorkerKind::Remotion && matches!(found.status(), "failed" | "cancelled") {
        at_rest(context, farm, bucket, &found).await?;
        objects = objects_of(farm, bucket, id).await?;
        objects.extend(elsewhere);
    }
    remove_objects(farm, bucket, id, objects).await?;
    let to_programs = json!({ "id": id, "deleted": true });
    told(context, &to_programs, &format!("{id}: deleted"))
}

/// Waits until nothing is written for a render that has failed any more: at the latest when its function's time is over.
async fn at_rest(
    context: &Context,
    farm: &Farm,
    bucket: &BucketName,
    found: &Found,
) -> Result<(), CommandError> {
    let timeout_at = found
        .progress
        .as_ref()
        .map(|progress| progress.timeout_timestamp);
    let over = || timeout_at.is_none_or(|timeout_at| now_ms() > timeout_at);
    if over() {
        return Ok(());
    }
    let id = &found.id;
    context.ui.say(format_args!(
        "{id}: waiting for the function's workers to end..."
    ));
    let stop = context.interrupt.stop();
    let folder = format!("{RENDERS}{id}/");
    let (mut seen, mut since) = (Vec::new(), Instant::now());
    while since.elapsed() < QUIET && !over() {
        let now = farm.cloud.list_objects(bucket, &folder).await?;
        if seen != now {
            (seen, since) = (now, Instant::now());
        }
        tokio::select! {
            () = stop.cancelled() => {
                let error = CommandError::new(CommandErrorKind::Interrupted, "Interrupted");
                return Err(error
                    .detail(format!("Nothing of the render {id} is deleted."))
                    .hint("run the same command again"));
            }
            () = sleep(PAUSE) => {}
        }
    }
    Ok(())
}

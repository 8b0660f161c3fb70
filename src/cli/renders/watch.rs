//! `rmx renders watch`: a render that somebody else drives, to its end.

use std::time::Duration;

use tokio::time::sleep;

use super::found::Found;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandErrorKind};
use crate::cli::farm::Farm;
use crate::config::WorkerKind;
use crate::names::{BucketName, RenderId};

/// From one look at the progress document to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows a render until it has ended: an orchestrator that says nothing counts as dead some time after its deadline.
///
/// # Errors
/// The render fails, or is nobody's to follow.
pub(super) async fn watch(
    context: &Context,
    farm: &Farm,
    bucket: &BucketName,
    worker: WorkerKind,
    id: &RenderId,
) -> Result<(), CommandError> {
    let ui = &context.ui;
    let stop = context.interrupt.stop();
    let mut shown = None;
    loop {
        let found = Found::required(farm, bucket, id).await?;
        let line = found.line(0);
        if shown.as_ref() != Some(&line) {
            match ui.json() {
                true => ui.print_json(&found.to_json(bucket))?,
                false => ui.say(&line),
            }
            shown = Some(line);
        }
        match found.status() {
            "running" => tokio::select! {
                () = stop.cancelled() => return Err(left(id)),
                () = sleep(PAUSE) => {}
            },
            "done" | "still" => {
                return match found.output(bucket) {
                    Some(output) if !ui.json() => ui.print(output),
                    _ => Ok(()),
                };
            }
            "unfinished" => return Err(found.of_a_client("followed")),
            status => {
                let error = CommandError::error(format!("The render {id} is {status}"));
                return Err(match found.fatal_message().or(found.unreadable.clone()) {
                    Some(message) => error.detail(message),
                    None => {
                        error.detail("Its orchestrator has not been heard of since its deadline.")
                    }
                }
                .hint(format!(
                    "`rmx logs --render {id}` shows what it wrote, {}",
                    found.next_step(worker)
                )));
            }
        }
    }
}

fn left(id: &RenderId) -> CommandError {
    CommandError::new(CommandErrorKind::Interrupted, "Interrupted")
        .detail(format!("The render {id} goes on without anybody watching."))
        .hint(format!("`rmx renders cancel {id}` ends it"))
}

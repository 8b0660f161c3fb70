//! `rmx renders resume`: a render that an orchestrator in a Lambda did not finish is taken up by another one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::farm::Farm;
use crate::cli::render::options::page_environment;
use crate::cloud::{CloudError, PutOptions};
use crate::config::WorkerKind;
use crate::env::now_ms;
use crate::names::{BucketName, RenderId};
use crate::render::launch_key;
use crate::wire::progress::{self, Progress};
use crate::wire::request::Launch;

use super::found::Found;
use super::told;

/// What `resume` is told.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ResumeArgs {
    /// Its id
    pub(super) id: RenderId,
    /// A file of NAME=VALUE lines with the environment variables that the page was given, beside the variables here that begin
    /// with REMOTION_: their values are kept nowhere
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// What the webhook's bodies are signed with, if they were: it is kept nowhere
    #[arg(long, value_name = "TEXT")]
    webhook_secret: Option<String>,
}

/// Has the function launch the render once more: what is rendered is found in the bucket.
///
/// # Errors
/// It goes on, it is done, or what it was asked for is not there any more.
pub(super) async fn resume(
    context: &Context,
    farm: &Farm,
    bucket: &BucketName,
    timeout_s: u32,
    args: &ResumeArgs,
) -> Result<(), CommandError> {
    let id = &args.id;
    let found = Found::required(farm, bucket, id).await?;
    match found.status() {
        "failed" | "cancelled" | "dead" => {}
        "unfinished" => return Err(found.of_a_client("taken up")),
        status => {
            return Err(
                CommandError::error(format!("The render {id} cannot be taken up"))
                    .detail(format!("It is {status}."))
                    .hint(found.next_step(WorkerKind::Rmx)),
            );
        }
    }
    let launch = kept(farm, bucket, id).await?;
    let launch = with_secrets(context, launch, args)?;
    let function = launch
        .function_name
        .parse()
        .map_err(|error| unreadable(id, error))?;
    let cloud = &farm.cloud;
    let key = progress::key(id);
    let before = cloud.object(bucket, &key).await?;
    let progress =
        serde_json::from_slice(&before.content).map_err(|error| unreadable(id, error))?;
    let again = serde_json::to_vec(&begun_again(progress, timeout_s))
        .map_err(|error| unreadable(id, error))?;
    // Whoever cancelled it has changed his mind.
    cloud
        .delete_objects(bucket, &[progress::cancel_key(id)])
        .await?;
    // Of two who take it up at the same moment one gets no further.
    let options = |if_match| PutOptions {
        content_type: Some("application/json".to_owned()),
        if_match,
        ..PutOptions::default()
    };
    cloud
        .put_object(bucket, &key, again.into(), &options(Some(before.etag)))
        .await?;
    let payload = launch.payload().to_string().into_bytes();
    let launched = cloud
        .invoke_event(&function, &launch.function_version, payload)
        .await;
    if let Err(error) = launched {
        // It has failed as before, and nobody is made to wait for it.
        cloud
            .put_object(bucket, &key, before.content, &options(None))
            .await?;
        return Err(not_launched(&launch, error));
    }
    told(
        context,
        &json!({ "id": id, "resumed": true }),
        &format!("{id}: goes on; `rmx renders watch {id}` follows it"),
    )
}

/// What the render was asked for.
async fn kept(farm: &Farm, bucket: &BucketName, id: &RenderId) -> Result<Launch, CommandError> {
    match farm.cloud.get_object(bucket, &launch_key(id)).await {
        Ok(content) => serde_json::from_slice(&content).map_err(|error| unreadable(id, error)),
        Err(error) if error.is_not_found() => Err(CommandError::error(format!(
            "The render {id} cannot be taken up"
        ))
        .detail(format!(
            "What it was asked for is not at s3://{bucket}/{} any more.",
            launch_key(id)
        ))
        .hint("begin it anew")),
        Err(error) => Err(error.into()),
    }
}

/// `launch` with what was withheld when it was kept.
fn with_secrets(
    context: &Context,
    mut launch: Launch,
    args: &ResumeArgs,
) -> Result<Launch, CommandError> {
    let missing = |what: String, hint: &str| {
        CommandError::usage("What the render was told in confidence is needed again")
            .detail(what)
            .hint(hint)
    };
    let given = page_environment(context, args.env_file.as_deref())?;
    let names: Vec<String> = launch.withheld().cloned().collect();
    let absent: Vec<&str> = names
        .iter()
        .filter(|name| !given.contains_key(*name))
        .map(String::as_str)
        .collect();
    if !absent.is_empty() {
        let what = format!(
            "The page was given the environment variables {}.",
            absent.join(", ")
        );
        return Err(missing(what, "pass them in a file with --env-file"));
    }
    if !names.is_empty() {
        let mut given = given;
        let kept: BTreeMap<String, String> = names
            .into_iter()
            .filter_map(|name| given.remove_entry(&name))
            .collect();
        launch.request.env_variables = Some(kept);
    }
    if let Some(secret) = launch.secret() {
        let given = args.webhook_secret.as_ref().ok_or_else(|| {
            let what = "Its webhook's bodies were signed.".to_owned();
            missing(what, "pass the secret with --webhook-secret")
        })?;
        secret.clone_from(given);
    }
    Ok(launch)
}

/// The document of a render that failed, as that of one that goes on.
fn begun_again(progress: Progress, timeout_s: u32) -> Progress {
    Progress {
        errors: progress
            .errors
            .iter()
            .filter(|error| !error.is_fatal || error.will_retry)
            .cloned()
            .collect(),
        fatal_error_timestamp: None,
        timeout_timestamp: now_ms() + u64::from(timeout_s) * 1_000,
        ..progress
    }
}

fn unreadable(id: &RenderId, error: impl std::error::Error + 'static) -> CommandError {
    CommandError::error(format!("What there is of the render {id} cannot be read"))
        .cause(error)
        .hint("begin it anew")
}

fn not_launched(launch: &Launch, error: CloudError) -> CommandError {
    if !error.is_not_found() {
        return error.into();
    }
    CommandError::error("The render cannot be taken up by what it was begun with")
        .detail(format!(
            "It was begun on version {} of the function {}, which is not there any more: frames of two versions do not belong \
             into one video.",
            launch.function_version, launch.function_name
        ))
        .cause(error)
        .hint("begin it anew")
}

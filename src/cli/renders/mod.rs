//! `rmx renders`: what the farm's bucket tells of its renders.

pub(super) mod objects;
mod resume;
mod watch;

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cloud::Cloud;
use crate::config::WorkerKind;
use crate::env::{now_ms, timestamp};
use crate::names::{BucketName, RenderId};
use crate::render::dispatch::Workers;
use crate::render::{Begun, begun};
use crate::wire::output::Place;
use crate::wire::progress::{self, MediaKind, Progress};
use crate::wire::status::{is_dead, overall_progress};

use objects::{ask_to_end, objects_of, remove_objects};
use resume::{ResumeArgs, resume};
use watch::watch;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, ExitStatus};
use crate::cli::farm::{self, Farm};
use crate::cli::foreign::{lines, one_line};
use crate::cli::render::deployed::Deployed;

/// At most a thousand times as many renders are listed.
const PAGES_MAX: usize = 10;

/// Documents that are read at the same time.
const READS_IN_FLIGHT: usize = 16;

/// The folder in the bucket.
const RENDERS: &str = "renders/";

/// List renders in the farm's bucket, look at one, follow, resume, cancel or delete it
///
/// Those that `rmx render --detach` and clients of Remotion Lambda began, and those of `rmx render` that were not finished. What
/// `rmx render` finished leaves nothing in the bucket.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RendersArgs {
    #[command(subcommand)]
    verb: RendersVerb,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum RendersVerb {
    /// All renders, one a line
    List,
    /// How far a render is, and what went wrong
    Show {
        /// Its id
        id: RenderId,
    },
    /// Follow a render to its end
    ///
    /// A line for each change. Fails if the render does. Where the output lies is printed at the end.
    Watch {
        /// Its id
        id: RenderId,
    },
    /// Render what is missing of a render that failed, was cancelled, or whose orchestrator died
    ///
    /// Of one that `rmx render --detach` or a client of Remotion Lambda began, on the version of the function on which it was
    /// begun. Returns as soon as it goes on. What `rmx render` itself did not finish, the same command with --resume ID does.
    Resume(ResumeArgs),
    /// End a render that was begun with --detach, or by a client with `enableCancellation`
    Cancel {
        /// Its id
        id: RenderId,
    },
    /// Delete a render with its output
    ///
    /// Refused while it goes on. An output in another bucket stays.
    Delete {
        /// Its id
        id: RenderId,
        /// Do not ask
        #[arg(long)]
        auto_approve: bool,
    },
}

pub(crate) async fn cmd_renders(
    context: &Context,
    args: &RendersArgs,
) -> Result<ExitStatus, CommandError> {
    let deployed = Deployed::recorded(context).await?;
    let Workers {
        bucket, timeout_s, ..
    } = deployed.workers(1)?;
    let worker = deployed.worker();
    if let (RendersVerb::Resume(_), WorkerKind::Remotion) = (&args.verb, worker) {
        return Err(Deployed::only_rmxs());
    }
    let farm = match &args.verb {
        RendersVerb::Resume(_) => farm::connect_lasting(context, &deployed.config).await?,
        _ => farm::connect(context, &deployed.config).await?,
    };
    // Nothing in this block returns before the embedded cloud has been shut down.
    let outcome = match &args.verb {
        RendersVerb::List => list(context, &farm, &bucket).await,
        RendersVerb::Show { id } => show(context, &farm, &bucket, id).await,
        RendersVerb::Watch { id } => watch(context, &farm, &bucket, worker, id).await,
        RendersVerb::Resume(args) => resume(context, &farm, &bucket, timeout_s, args).await,
        RendersVerb::Cancel { id } => cancel(context, &farm, &bucket, worker, id).await,
        RendersVerb::Delete { id, auto_approve } => {
            delete(context, &farm, &bucket, id, *auto_approve).await
        }
    };
    farm.shutdown().await;
    outcome.map(|()| ExitStatus::Success)
}

/// A render, by what lies in the bucket.
struct Found {
    id: RenderId,
    /// Of one that a client began.
    progress: Option<Progress>,
    /// Of one that `rmx render` drives, or drove.
    begun: Option<Begun>,
    /// Why the document of one that a client began cannot be read.
    unreadable: Option<String>,
}

impl Found {
    /// The render `id`; nothing if there is none.
    async fn read(
        cloud: &Cloud,
        bucket: &BucketName,
        id: RenderId,
    ) -> Result<Option<Self>, CommandError> {
        match cloud.get_object(bucket, &progress::key(&id)).await {
            Ok(content) => {
                let read: Result<Progress, _> = serde_json::from_slice(&content);
                let unreadable = read.as_ref().err().map(ToString::to_string);
                Ok(Some(Self {
                    id,
                    progress: read.ok(),
                    begun: None,
                    unreadable,
                }))
            }
            Err(error) if error.is_not_found() => {
                let begun = begun(cloud, bucket, &id).await?;
                Ok(begun.map(|begun| Self {
                    id,
                    progress: None,
                    begun: Some(begun),
                    unreadable: None,
                }))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The render `id`, which has to be there.
    async fn required(
        farm: &Farm,
        bucket: &BucketName,
        id: &RenderId,
    ) -> Result<Self, CommandError> {
        let found = Self::read(&farm.cloud, bucket, id.clone()).await?;
        found.ok_or_else(|| {
            CommandError::error(format!("There is no render {id}"))
                .hint("`rmx renders list` shows those there are")
        })
    }

    fn status(&self) -> &'static str {
        if self.unreadable.is_some() {
            return "unreadable";
        }
        let Some(progress) = &self.progress else {
            return "unfinished";
        };
        let metadata = progress.render_metadata.as_ref();
        if progress.post_render_data.is_some() {
            "done"
        } else if metadata.is_some_and(|metadata| metadata.kind == MediaKind::Still) {
            "still"
        } else if progress.failed() {
            "failed"
        } else if is_dead(progress, now_ms()) {
            "dead"
        } else {
            "running"
        }
    }

    fn is_running(&self) -> bool {
        self.status() == "running"
    }

    fn composition(&self) -> Option<&str> {
        if let Some(begun) = &self.begun {
            return begun.composition.as_deref();
        }
        let metadata = self.progress.as_ref()?.render_metadata.as_ref()?;
        Some(&metadata.composition_id)
    }

    fn percent(&self) -> Option<f64> {
        let progress = self.progress.as_ref()?;
        let part = match self.status() {
            "done" | "still" => 1.0,
            _ => overall_progress(progress),
        };
        Some((part * 100.0).round())
    }

    fn begun_at(&self) -> Option<String> {
        if let Some(begun) = &self.begun {
            return begun.began_at.clone();
        }
        let progress = self.progress.as_ref()?;
        let metadata = progress.render_metadata.as_ref();
        let begun = metadata.map(|metadata| metadata.started_date);
        let begun_ms = begun.or(progress.function_launched)?;
        let begun = OffsetDateTime::UNIX_EPOCH + Duration::from_millis(begun_ms);
        Some(timestamp(begun))
    }

    fn errors(&self) -> Vec<Value> {
        let errors = self.progress.iter().flat_map(|progress| &progress.errors);
        let errors = errors.map(|error| {
            json!({
                "message": error.message,
                "stack": error.stack,
                "frame": error.frame,
                "chunk": error.chunk,
                "fatal": error.is_fatal,
            })
        });
        errors.collect()
    }

    /// On one line, with the id in so many columns.
    fn line(&self, width: usize) -> String {
        let percent = self
            .percent()
            .map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"));
        format!(
            "{:<width$}  {:<10}  {percent:>5}  {:<20}  {}",
            self.id.as_str(),
            self.status(),
            self.begun_at().as_deref().unwrap_or("-"),
            self.composition().map_or_else(|| "-".into(), one_line),
        )
    }

    fn fatal_message(&self) -> Option<String> {
        let mut errors = self.progress.as_ref()?.errors.iter();
        Some(one_line(&errors.rfind(|error| error.is_fatal)?.message))
    }

    /// The output's address, once it is there.
    fn output(&self) -> Option<&str> {
        let done = self.progress.as_ref()?.post_render_data.as_ref()?;
        Some(&done.output_file)
    }

    /// What can be done with it as it is.
    fn next_step(&self, worker: WorkerKind) -> String {
        let id = &self.id;
        match self.status() {
            "running" => {
                format!("`rmx renders watch {id}` follows it, `rmx renders cancel {id}` ends it")
            }
            "failed" | "dead" if worker == WorkerKind::Remotion => {
                format!("`rmx renders delete {id}` deletes what is left of it")
            }
            "failed" | "dead" => format!(
                "`rmx renders resume {id}` renders what is missing, `rmx renders delete {id}` deletes it"
            ),
            "unfinished" => format!(
                "if `rmx render` still drives it, press Ctrl-C there; `rmx renders delete {id}` deletes what is left of it"
            ),
            "unreadable" => {
                format!("`rmx renders delete {id}` deletes what is there of it")
            }
            _ => format!(
                "`rmx renders show {id}` tells of it, `rmx renders delete {id}` deletes it with its output"
            ),
        }
    }

    /// What is said of a render that an `rmx render` drives, or drove, and whose options are known there alone.
    fn of_a_client(&self, what: &str) -> CommandError {
        let id = &self.id;
        CommandError::error(format!("The render {id} cannot be {what} from here"))
            .detail(
                "It was begun by `rmx render`, which drives it itself and alone knows its options.",
            )
            .hint(format!(
                "if that has ended, run the same command again with --resume {id}"
            ))
    }

    fn to_json(&self) -> Value {
        let progress = self.progress.as_ref();
        let done = progress.and_then(|progress| progress.post_render_data.as_ref());
        json!({
            "id": self.id,
            "status": self.status(),
            "composition": self.composition(),
            "percent": self.percent(),
            "begun_at": self.begun_at(),
            "output": self.output(),
            "size_bytes": done.map(|done| done.output_size),
            "cost_usd": done.map(|done| done.cost.estimated_cost),
            "errors": self.errors(),
        })
    }
}

async fn list(context: &Context, farm: &Farm, bucket: &BucketName) -> Result<(), CommandError> {
    let cloud = &farm.cloud;
    let (folders, all) = cloud
        .list_common_prefixes(bucket, RENDERS, PAGES_MAX)
        .await?;
    let ids = folders.iter().filter_map(|folder| {
        folder
            .strip_prefix(RENDERS)?
            .strip_suffix('/')?
            .parse()
            .ok()
    });
    let ids: Vec<RenderId> = ids.collect();
    let found: Vec<Option<Found>> = futures::stream::iter(ids)
        .map(|id| Found::read(cloud, bucket, id))
        .buffered(READS_IN_FLIGHT)
        .try_collect()
        .await?;
    let found: Vec<Found> = found.into_iter().flatten().collect();
    if !all {
        context
            .ui
            .warn(format!("There are more than {} renders.", folders.len()));
    }
    if context.ui.json() {
        let list: Vec<Value> = found.iter().map(Found::to_json).collect();
        return context.ui.print_json(&list);
    }
    let width = found.iter().map(|render| render.id.as_str().len()).max();
    let width = width.unwrap_or(0);
    for render in &found {
        context.ui.print(render.line(width))?;
    }
    Ok(())
}

async fn show(
    context: &Context,
    farm: &Farm,
    bucket: &BucketName,
    id: &RenderId,
) -> Result<(), CommandError> {
    let found = Found::required(farm, bucket, id).await?;
    if context.ui.json() {
        return context.ui.print_json(&found.to_json());
    }
    let ui = &context.ui;
    ui.print(format_args!("{id}: {}", found.status()))?;
    if let Some(composition) = found.composition() {
        ui.print(format_args!("composition  {}", one_line(composition)))?;
    }
    if let Some(begun_at) = found.begun_at() {
        ui.print(format_args!("begun        {begun_at}"))?;
    }
    if let Some(error) = &found.unreadable {
        let key = progress::key(id);
        ui.print(format_args!("s3://{bucket}/{key} cannot be read: {error}"))?;
        return ui.print(found.next_step(WorkerKind::Rmx));
    }
    let Some(progress) = &found.progress else {
        return ui.print(format_args!(
            "the `rmx render` command that began it finishes it, with --resume {id}\n\
             `rmx renders delete {id}` removes what there is of it"
        ));
    };
    if let Some(metadata) = &progress.render_metadata {
        ui.print(format_args!(
            "chunks       {} of {}",
            progress.chunks.len(),
            metadata.total_chunks
        ))?;
    }
    if let Some(frames) = progress.frame_count() {
        let rendered = progress.frames_rendered;
        ui.print(format_args!("frames       {rendered} of {frames}"))?;
    }
    if let Some(done) = &progress.post_render_data {
        ui.print(format_args!("output       {}", done.output_file))?;
        ui.print(format_args!(
            "cost         {}",
            done.cost.estimated_display_cost
        ))?;
    }
    for error in &progress.errors {
        let kind = if error.is_fatal { "error" } else { "passing" };
        ui.print(format_args!("{kind}: {}", lines(&error.message)))?;
    }
    Ok(())
}

async fn cancel(
    context: &Context,
    farm: &Farm,
    bucket: &BucketName,
    worker: WorkerKind,
    id: &RenderId,
) -> Result<(), CommandError> {
    let found = Found::required(farm, bucket, id).await?;
    let cancellable = found
        .progress
        .as_ref()
        .is_some_and(|progress| progress.cancellation_enabled);
    if !found.is_running() {
        return Err(
            CommandError::error(format!("The render {id} does not go on"))
                .detail(format!("It is {}.", found.status()))
                .hint(found.next_step(worker)),
        );
    }
    if !cancellable {
        return Err(
            CommandError::error(format!("The render {id} cannot be cancelled"))
                .detail("Its client began it without `enableCancellation: true`, and it looks out for nothing.")
                .hint("wait for its end, or for the function's timeout"),
        );
    }
    ask_to_end(farm, bucket, id).await?;
    context.ui.say(format!("{id}: ends within a second or two"));
    Ok(())
}

async fn delete(
    context: &Context,
    farm: &Farm,
    bucket: &BucketName,
    id: &RenderId,
    auto_approve: bool,
) -> Result<(), CommandError> {
    let found = Found::required(farm, bucket, id).await?;
    if found.is_running() {
        return Err(CommandError::error(format!("The render {id} goes on"))
            .hint(format!("cancel it first: rmx renders cancel {id}")));
    }
    let mut objects = objects_of(farm, bucket, id).await?;
    objects.extend(found.output_elsewhere(bucket));
    let question = format!("Delete {} objects of the render {id}?", objects.len());
    if !auto_approve && !context.ui.confirm(&question, "--auto-approve").await? {
        return Err(CommandError::not_agreed("Nothing is deleted"));
    }
    remove_objects(farm, bucket, id, objects).await?;
    context.ui.say(format!("{id}: deleted"));
    Ok(())
}

impl Found {
    /// The key of the output, if it lies in the farm's bucket and not below the render's folder.
    fn output_elsewhere(&self, bucket: &BucketName) -> Option<String> {
        let progress = self.progress.as_ref()?;
        progress.post_render_data.as_ref()?;
        let name = progress.render_metadata.as_ref()?.out_name.as_ref();
        let place = Place::of(bucket, &self.id, name, "").ok()?;
        let inside = place.key.starts_with(&format!("{RENDERS}{}/", self.id));
        (place.bucket == *bucket && !inside).then_some(place.key)
    }
}

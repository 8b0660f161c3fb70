//! `rmx renders`: what the farm's bucket tells of its renders.

mod delete;
mod found;
pub(super) mod objects;
mod resume;
mod watch;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use crate::config::WorkerKind;
use crate::names::{BucketName, RenderId};
use crate::wire::progress;

use delete::delete;
use found::Found;
use objects::ask_to_end;
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
    /// Refused while it goes on, as far as its document can be read. Remotion's own function may go on for some seconds after it was
    /// cancelled: that is waited for. An output in another bucket stays.
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
    let bucket = deployed.bucket()?.clone();
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
        RendersVerb::Resume(args) => match deployed.workers(1) {
            Ok(workers) => resume(context, &farm, &bucket, workers.timeout_s, args).await,
            Err(error) => Err(error),
        },
        RendersVerb::Cancel { id } => cancel(context, &farm, &bucket, worker, id).await,
        RendersVerb::Delete { id, auto_approve } => {
            delete(context, &farm, &bucket, worker, (id, *auto_approve)).await
        }
    };
    farm.shutdown().await;
    outcome.map(|()| ExitStatus::Success)
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
        let list: Vec<Value> = found.iter().map(|found| found.to_json(bucket)).collect();
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
        return context.ui.print_json(&found.to_json(bucket));
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
    if let Some(parts) = found.parts() {
        let (done, total) = parts.chunks;
        ui.print(format_args!("chunks       {done} of {total}"))?;
        if let Some((done, total)) = parts.frames {
            ui.print(format_args!("frames       {done} of {total}"))?;
        }
    }
    if let Some(dead_from) = found.dead_from() {
        let unheard = "if nothing is heard of it until then";
        ui.print(format_args!("dead from    {dead_from}, {unheard}"))?;
    }
    if let Some(output) = found.output(bucket) {
        ui.print(format_args!("output       {output}"))?;
    }
    if let Some(done) = &progress.post_render_data {
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
    let dead_from = found.dead_from();
    let dead_from = dead_from.as_deref().unwrap_or("its timeout");
    told(
        context,
        &json!({ "id": id, "cancelling": true }),
        &format!(
            "{id}: is asked to end, which it does within a second or two; if nobody is there who would hear it, it counts as dead from {dead_from} on"
        ),
    )
}

/// Says what was done: to programs on the standard output, to people beside it.
fn told(context: &Context, to_programs: &Value, to_people: &str) -> Result<(), CommandError> {
    match context.ui.json() {
        true => context.ui.print_json(to_programs),
        false => {
            context.ui.say(to_people);
            Ok(())
        }
    }
}

//! `rmx render` where the function is Remotion's own: it drives the render itself. It is asked as its clients ask it, followed in
//! the bucket, and its video is fetched. Nothing is left in the bucket then.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::deployed::{Deployed, REMOTIONS_IS_DEPLOYED};
use super::view::{self, View};
use super::{RenderArgs, artifacts, detach, failure, say_what_is_there, shown_path};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandErrorKind, ExitStatus};
use crate::cli::farm::{self, Farm};
use crate::cli::foreign::lines;
use crate::cli::renders::objects;
use crate::cli::ui::Ui;
use crate::cloud::CloudError;
use crate::env::now_ms;
use crate::names::{ArtifactName, BucketName, RenderId};
use crate::render::output::OutputFile;
use crate::render::request::RenderOptions;
use crate::render::stitch::copy_object;
use crate::render::{self, ArtifactError, ArtifactFile, RenderEvent};
use crate::wire::progress::{self, Progress};
use crate::wire::status::is_dead;

/// From one look at the progress document to the next.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a render that cannot be looked at is followed all the same.
const UNSEEN_MAX: Duration = Duration::from_secs(30);

/// How long the embedded cloud has for ending its functions, of the time that an interrupted command has.
const END_MAX: Duration = Duration::from_millis(500);

/// A render, and where it is.
struct Driven<'a> {
    ui: &'a Ui,
    farm: &'a Farm,
    bucket: &'a BucketName,
    id: &'a RenderId,
    /// How long it is followed all the same where it cannot be looked at.
    unseen_max: Duration,
}

/// What has come of it here.
struct Brought {
    done: Progress,
    path: PathBuf,
    size_bytes: u64,
    artifacts: Vec<ArtifactFile>,
}

/// Renders into `output`.
///
/// # Errors
/// The function refuses or fails, or nothing is heard of it any more; the video cannot be written.
pub(super) async fn render(
    context: &Context,
    args: &RenderArgs,
    deployed: &Deployed,
    options: &RenderOptions,
    output: OutputFile,
) -> Result<ExitStatus, CommandError> {
    refuse_what_it_cannot_do(args)?;
    let began = Instant::now();
    let shown = shown_path(context, output.path());
    let bucket = deployed.workers(1)?.bucket;
    let cancel = context.interrupt.stop().child_token();
    let mut view = View::new(context, &args.page, &cancel);
    let (farm, ()) = tokio::join!(
        farm::connect(context, &deployed.config),
        deployed.note_edits(context, &options.page),
    );
    let farm = farm?;
    // Nothing in this block returns before the embedded cloud has been shut down.
    let outcome = async {
        let name = format!("out.{}", options.encode.container);
        let id = detach::begin(&farm, deployed, options, &name).await?;
        view.begin(&args.composition, &id, false);
        let driven = Driven {
            ui: &context.ui,
            farm: &farm,
            bucket: &bucket,
            id: &id,
            unseen_max: UNSEEN_MAX,
        };
        let folder = args.artifacts.folder(context, &args.composition);
        let brought = driven
            .bring(&name, output, &folder, &cancel, |event| view.show(&event))
            .await;
        view.end()?;
        let brought = brought?;
        Ok::<_, CommandError>((id, brought))
    }
    .await;
    farm.shutdown().await;
    let (id, brought) = outcome?;
    summary(context, args, &id, &brought, &shown, began)?;
    Ok(ExitStatus::Success)
}

impl Driven<'_> {
    /// Follows the render to its end, and brings here its video, which is called `name` there, and what the page emitted.
    async fn bring(
        &self,
        name: &str,
        output: OutputFile,
        folder: &Path,
        cancel: &CancellationToken,
        mut on_event: impl FnMut(RenderEvent<'_>),
    ) -> Result<Brought, CommandError> {
        let Self {
            farm, bucket, id, ..
        } = *self;
        let done = self.follow(cancel, &mut on_event).await?;
        let key = progress::output_key(id, name);
        let size_bytes = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(self.not_fetched(&key)),
            fetched = self.fetch(&key, &output) => fetched?,
        };
        let path = output.commit()?;
        let artifacts = self.artifacts(&done, folder).await?;
        // What was asked for is here: that the rest stays there does not make it less so.
        if let Err(error) = objects::remove(farm, bucket, id).await {
            on_event(RenderEvent::NotCleaned { error: &error });
        }
        Ok(Brought {
            done,
            path,
            size_bytes,
            artifacts,
        })
    }

    /// Follows the render until its video is in the bucket.
    async fn follow(
        &self,
        cancel: &CancellationToken,
        mut on_event: impl FnMut(RenderEvent<'_>),
    ) -> Result<Progress, CommandError> {
        let mut shown = render::Progress::default();
        let mut seen = Instant::now();
        loop {
            let looked = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(self.cancelled().await),
                looked = self.look() => looked,
            };
            match looked {
                Ok(progress) => {
                    seen = Instant::now();
                    // A chunk that is tried again begins anew; what is shown does not go back.
                    shown = farthest(shown, counts(&progress));
                    if progress.post_render_data.is_some() {
                        on_event(RenderEvent::Progress(to_the_end(shown)));
                        return Ok(progress);
                    }
                    on_event(RenderEvent::Progress(shown));
                    if progress.failed() {
                        return Err(failed(self.id, &progress));
                    }
                    if is_dead(&progress, now_ms()) {
                        return Err(dead(self.id));
                    }
                }
                Err(error) if seen.elapsed() > self.unseen_max => {
                    return Err(self.unseen(error).await);
                }
                // The render does not know of it.
                Err(_) => {}
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = sleep(PAUSE) => {}
            }
        }
    }

    /// What the document of the render says.
    async fn look(&self) -> Result<Progress, CommandError> {
        let Self {
            farm, bucket, id, ..
        } = self;
        let content = farm.cloud.get_object(bucket, &progress::key(id)).await?;
        serde_json::from_slice(&content).map_err(|error| {
            CommandError::error(format!("The document of the render {id} cannot be read"))
                .cause(error)
                .detail("rmx knows the one of Remotion 4.0.527: see docs/WIRE.md.")
        })
    }

    /// Nobody knows by now how far it is. That it goes on is likely, unless that is within this process.
    async fn unseen(&self, error: CommandError) -> CommandError {
        let Self { id, unseen_max, .. } = self;
        let unseen = format!(
            "it could not be looked at for {} seconds",
            unseen_max.as_secs()
        );
        match self.ended_here().await {
            Some(_) => error.detail(format!("The render {id} was ended: {unseen}.")),
            None => error
                .detail(format!("The render {id} goes on; {unseen}."))
                .hint(format!(
                    "`rmx renders watch {id}` follows it, `rmx renders cancel {id}` ends it"
                )),
        }
    }

    /// Has the function stop, as far as it can be told.
    async fn cancelled(&self) -> CommandError {
        let Self {
            ui,
            farm,
            bucket,
            id,
            ..
        } = self;
        // Said at once: there may be no time for more.
        ui.say(format!("Cancelling the render {id}..."));
        let error = CommandError::new(CommandErrorKind::Interrupted, "Interrupted");
        let cancelled = format!("The render {id} was cancelled.");
        let later =
            format!("`rmx renders delete {id}` deletes what is left of it, once it has ended");
        match self.ended_here().await {
            Some(Ok(())) => return error.detail(cancelled),
            Some(Err(cause)) => return error.detail(cancelled).cause(cause).hint(later),
            None => {}
        }
        match objects::ask_to_end(farm, bucket, id).await {
            Ok(()) => error.detail(cancelled),
            Err(cause) => error
                .detail(format!("The render {id} goes on: it could not be told."))
                .cause(cause),
        }
        .hint(later)
    }

    /// Where the embedded cloud is within this process, the render ends with it in any case: it is ended, and whether all of it could
    /// be removed is returned. `None`: it is elsewhere.
    async fn ended_here(&self) -> Option<Result<(), CloudError>> {
        let local = self.farm.local.as_ref()?;
        // Who is not through by then is killed when this process ends.
        let _ = tokio::time::timeout(END_MAX, local.end_functions()).await;
        Some(objects::remove(self.farm, self.bucket, self.id).await)
    }

    fn not_fetched(&self, key: &str) -> CommandError {
        let Self { bucket, id, .. } = self;
        CommandError::new(CommandErrorKind::Interrupted, "Interrupted")
            .detail(format!(
                "The render {id} is done; its video is s3://{bucket}/{key}."
            ))
            .hint(format!("`rmx renders delete {id}` deletes it"))
    }

    /// Brings the object `key` here; returns its size.
    async fn fetch(&self, key: &str, output: &OutputFile) -> Result<u64, CommandError> {
        let Self {
            farm, bucket, id, ..
        } = *self;
        let failed = |error: CommandError| {
            error.detail(format!("It is s3://{bucket}/{key} of the render {id}."))
        };
        let found = farm.cloud.head_object(bucket, key).await?;
        let found = found.ok_or_else(|| {
            failed(CommandError::error(
                "What Remotion's function says it has made is not there",
            ))
            .hint(format!("`rmx renders show {id}` tells what it says of it"))
        })?;
        let open = |key: String, range| {
            async move { farm.cloud.read_object(bucket, &key, Some(range)).await }.boxed()
        };
        let copied = copy_object(key, found.size_bytes, &open, output.part()).await;
        copied.map_err(|error| {
            failed(CommandError::error("What was rendered cannot be fetched"))
                .cause(error)
                .hint(format!(
                    "it stays there until `rmx renders delete {id}`: fetch it with a tool for S3 or render again"
                ))
        })?;
        Ok(found.size_bytes)
    }

    /// Brings what the page emitted below `folder`.
    async fn artifacts(
        &self,
        done: &Progress,
        folder: &Path,
    ) -> Result<Vec<ArtifactFile>, CommandError> {
        let mut files = Vec::new();
        for artifact in &done.received_artifact {
            let name: Result<ArtifactName, _> = artifact.filename.parse();
            let name = name.map_err(|error| {
                let key = artifact.s3_key.clone();
                failure::artifacts(ArtifactError::Foreign { key, error })
            })?;
            let output = OutputFile::create(&folder.join(name.as_str()), true)?;
            let size_bytes = self.fetch(&artifact.s3_key, &output).await?;
            files.push(ArtifactFile {
                name: name.into(),
                frame: None,
                path: output.commit()?,
                size_bytes,
            });
        }
        Ok(files)
    }
}

fn dead(id: &RenderId) -> CommandError {
    CommandError::error(format!("The render {id} is dead"))
        .detail("Remotion's function has not been heard of since its deadline.")
        .hint(format!(
            "`rmx logs --render {id}` shows what it wrote; timeout_s under [function] gives it more time"
        ))
}

/// Options that Remotion's function knows nothing of, and would pass over.
fn refuse_what_it_cannot_do(args: &RenderArgs) -> Result<(), CommandError> {
    let given = [
        ("--resume", args.resume.is_some()),
        ("--keep-segments", args.keep_segments),
        ("--capture-method", args.capture_method.is_some()),
        ("--enforce-audio-track", args.enforce_audio_track),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => Err(
            CommandError::usage(format!("{option} is for rmx's own worker"))
                .detail(REMOTIONS_IS_DEPLOYED)
                .hint("leave it out"),
        ),
    }
}

/// The counts of a render as they are shown. What the function does not tell is not guessed.
fn counts(progress: &Progress) -> render::Progress {
    let metadata = progress.render_metadata.as_ref();
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let chunks_done = count(progress.chunks.len());
    render::Progress {
        frames_rendered: progress.frames_rendered,
        frames_encoded: progress.frames_encoded,
        frames_total: progress.frame_count().unwrap_or(0),
        chunks_done,
        chunks_total: metadata.map_or(0, |metadata| metadata.total_chunks),
        running: progress.lambdas_invoked.saturating_sub(chunks_done),
        retries: count(progress.retries.len()),
        backups: 0,
    }
}

fn farthest(before: render::Progress, now: render::Progress) -> render::Progress {
    render::Progress {
        frames_rendered: now.frames_rendered.max(before.frames_rendered),
        frames_encoded: now.frames_encoded.max(before.frames_encoded),
        ..now
    }
}

/// The function's last word does not count the last frames and chunks.
fn to_the_end(counts: render::Progress) -> render::Progress {
    render::Progress {
        frames_rendered: counts.frames_total,
        frames_encoded: counts.frames_total,
        chunks_done: counts.chunks_total,
        running: 0,
        ..counts
    }
}

fn failed(id: &RenderId, progress: &Progress) -> CommandError {
    let fatal = progress.errors.iter().rfind(|error| error.is_fatal);
    let message = fatal.map_or("It does not say why.", |error| &error.message);
    CommandError::error("Remotion's function could not render the composition")
        .detail(lines(message))
        .hint(format!(
            "`rmx logs --render {id}` shows what it wrote, `rmx renders delete {id}` deletes what is left of it"
        ))
}

fn summary(
    context: &Context,
    args: &RenderArgs,
    id: &RenderId,
    brought: &Brought,
    shown: &str,
    began: Instant,
) -> Result<(), CommandError> {
    let Brought {
        done,
        path,
        size_bytes,
        artifacts: emitted,
    } = brought;
    let ui = &context.ui;
    let wall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let counts = counts(done);
    if ui.json() {
        return ui.print_json(&view::event(
            "render_complete",
            format!("Rendered {shown}"),
            json!({
                "render_id": id,
                "output": path,
                "size_bytes": size_bytes,
                "frames": counts.frames_total,
                "chunks": counts.chunks_total,
                "retries": counts.retries,
                "wall_ms": wall_ms,
                "artifacts": artifacts::as_json(emitted),
            }),
        ));
    }
    if !args.page.quiet {
        ui.say(format!(
            "{}, {} in {} by Remotion's own function\n{}, {}",
            view::counted(u64::from(counts.frames_total), "frame", "frames"),
            view::size(*size_bytes),
            view::duration(wall_ms),
            view::counted(u64::from(counts.chunks_total), "chunk", "chunks"),
            view::counted(u64::from(counts.retries), "retry", "retries"),
        ));
        say_what_is_there(context, emitted, shown);
    }
    ui.print(shown)
}

#[cfg(test)]
mod tests;

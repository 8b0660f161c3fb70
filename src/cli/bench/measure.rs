//! The renders of a measurement, one after another.

use std::path::Path;

use tokio::time::Instant;

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::farm::Farm;
use crate::cli::render::RenderArgs;
use crate::cli::render::deployed::Deployed;
use crate::cli::render::failure_shown;
use crate::cli::render::options::PageArgs;
use crate::cli::render::view::{View, counted, duration};
use crate::env::Tool;
use crate::render::dispatch::Session;
use crate::render::output::OutputFile;
use crate::render::{self, RenderEvent, RenderJob, new_render_id};
use crate::state::Holder;

use super::course::Course;
use super::figures::Measured;

/// What is measured, and with what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measurement<'a> {
    pub(super) context: &'a Context,
    pub(super) course: &'a Course,
    pub(super) deployed: &'a Deployed,
    pub(super) farm: &'a Farm,
    /// Videos lie below it while they are made.
    pub(super) folder: &'a Path,
}

impl Measurement<'_> {
    /// Carries the course out. Returns what was measured, and why it was not all.
    pub(super) async fn run(self, page: &PageArgs) -> (Vec<Measured>, Option<CommandError>) {
        let mut renders = Vec::new();
        let outcome = self.measure_all(page, &mut renders).await;
        (renders, outcome.err())
    }

    async fn measure_all(
        self,
        page: &PageArgs,
        renders: &mut Vec<Measured>,
    ) -> Result<(), CommandError> {
        let mut args = RenderArgs::plain(&self.course.composition, page.clone())?;
        for workers in &self.course.workers {
            for run in 1..=self.course.runs {
                args.set_extent(self.course.frames, *workers);
                renders.push(self.measure(&args, *workers, run).await?);
            }
        }
        Ok(())
    }

    async fn measure(
        self,
        args: &RenderArgs,
        workers: u32,
        run: u32,
    ) -> Result<Measured, CommandError> {
        let Self {
            context,
            course,
            deployed,
            farm,
            folder,
        } = self;
        let request = args.request(context, deployed)?;
        let scratch = tempfile::Builder::new().prefix(".rmx-").tempdir_in(folder);
        let scratch = scratch.map_err(|error| super::not_written(folder, error))?;
        let job = RenderJob {
            id: new_render_id(),
            resume: false,
            keep_segments: false,
            output: OutputFile::create(&scratch.path().join("video"), true)?,
            ffmpeg: context.env.find_tool(Tool::Ffmpeg),
            artifacts_folder: scratch.path().join("artifacts"),
        };
        let cancel = context.interrupt.stop().child_token();
        let mut view = View::new(context, args.page(), &cancel);
        view.begin(&course.composition, &job.id, false);
        let session = Session {
            cloud: &farm.cloud,
            workers: &deployed.workers(workers)?,
            cancel: &cancel,
        };
        let mut invocations = Vec::new();
        let began = Instant::now();
        let holder = Holder::new(&context.env, "rmx bench").to_string();
        let outcome = render::render(&request, job, &holder, session, |event| {
            if let RenderEvent::InvocationEnded(invoked) = &event {
                invocations.push(*invoked);
            }
            view.show(&event);
        })
        .await;
        let wall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        view.end()?;
        let output = outcome.map_err(|error| failure_shown(error, &course.composition, None))?;
        if !context.ui.json() && !args.page().quiet {
            context.ui.say(format_args!(
                "{}, run {run}: {}",
                counted(u64::from(workers), "worker", "workers"),
                duration(wall_ms)
            ));
        }
        Ok(Measured {
            workers,
            chunks: output.chunks,
            run,
            frames: output.frame_count,
            wall_ms,
            phases: output.timings.into(),
            retries: output.retries,
            backups: output.backups,
            invocations,
        })
    }
}

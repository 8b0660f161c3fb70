//! `rmx bench`: what a deployed farm does, measured by rendering with it.

mod course;
mod figures;
mod measure;
mod page;
mod report;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use crate::config::{Config, Target};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm;
use super::files;
use super::render::deployed::Deployed;
use super::render::options::PageArgs;
use super::render::shown_path;
use course::Course;
use measure::Measurement;
use report::Report;

/// The document for programs, in the report's folder.
const DOCUMENT_NAME: &str = "bench.json";

/// The page for people, beside it.
const PAGE_NAME: &str = "bench.html";

/// Measure the deployed farm: cold starts, frames a second, wall time by number of workers, cost
///
/// Renders a composition several times with each number of workers, one chunk for each of them, and throws the videos away. Writes a
/// document for programs and a page for people, `bench.json` and `bench.html`. On AWS that is billed: the question beforehand says about
/// how much, and nothing is called before it is answered.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// The composition's id
    composition: String,
    /// Measure the farm of a real account, which is billed
    #[arg(long)]
    aws: bool,
    /// Numbers of workers to measure with [default: 1,5,20; on the embedded cloud one, and as many as this machine has processors for]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    workers: Vec<NonZeroU32>,
    /// Renders with each number of workers
    #[arg(long, value_name = "N", default_value = "3")]
    runs: NonZeroU32,
    /// Frames of each render: the composition's first ones
    #[arg(long, value_name = "N", default_value = "100")]
    frames: NonZeroU32,
    /// Where the report goes; one that is there is replaced
    #[arg(long, value_name = "FOLDER", default_value = "out/bench")]
    out: PathBuf,
    /// Do not ask
    #[arg(long)]
    auto_approve: bool,
    #[command(flatten)]
    page: PageArgs,
}

pub(crate) async fn cmd_bench(
    context: &Context,
    args: &BenchArgs,
) -> Result<ExitStatus, CommandError> {
    let config = context.config()?;
    require_target_named(&config, args.aws)?;
    let course = course(&config, args)?;
    context.ui.say(course.announcement());
    if !args.auto_approve
        && !context
            .ui
            .confirm(course.question(), "--auto-approve")
            .await?
    {
        context.ui.say("Nothing was done.");
        return Ok(ExitStatus::Declined);
    }

    let folder = context.path(&args.out);
    std::fs::create_dir_all(&folder).map_err(|error| not_written(&folder, error))?;
    let deployed = Deployed::load(context, &args.page).await?;
    let farm = farm::connect(context, &config).await?;
    let measurement = Measurement {
        context,
        course: &course,
        deployed: &deployed,
        farm: &farm,
        folder: &folder,
    };
    let measured = measurement.run(&args.page).await;
    let identity = farm.identity.clone();
    farm.shutdown().await;
    // What was measured before something failed was paid for, too.
    let (renders, failure) = measured;
    if let (false, Some(function)) = (renders.is_empty(), deployed.function()) {
        let report = Report::new(&course, function, &identity, renders);
        write(&folder, &report)?;
        show(context, &folder, &report)?;
    }
    failure.map_or(Ok(ExitStatus::Success), Err)
}

/// Requires that whoever measures a billed farm has said so, and that whoever has said so measures one.
fn require_target_named(config: &Config, aws: bool) -> Result<(), CommandError> {
    match (config.target, aws) {
        (Target::Aws, true) | (Target::Local, false) => Ok(()),
        (Target::Aws, false) => Err(CommandError::usage("This farm is in a real account")
            .detail("Rendering with it is billed.")
            .hint("pass --aws to measure it; you will be asked, with the cost, before anything is done")),
        (Target::Local, true) => Err(CommandError::usage("This farm is in no account")
            .detail("Its target is `local`, the embedded cloud of this machine.")
            .hint("name the stage that is on AWS with --stage, or leave --aws out")),
    }
}

/// What is going to be done, by configuration and command line alone.
fn course(config: &Config, args: &BenchArgs) -> Result<Course, CommandError> {
    let workers_max = match config.target {
        Target::Local => Some(farm::local_workers_max(config.function.memory_mb)),
        Target::Aws => None,
    };
    let asked = args.workers.iter().map(|count| count.get()).collect();
    Course::new(
        config,
        &args.composition,
        asked,
        workers_max,
        args.runs.get(),
        args.frames.get(),
    )
}

fn write(folder: &Path, report: &Report<'_>) -> Result<(), CommandError> {
    let document = serde_json::to_string_pretty(report).expect("a report has string keys only");
    for (name, text) in [
        (DOCUMENT_NAME, document + "\n"),
        (PAGE_NAME, page::page(report)),
    ] {
        let path = folder.join(name);
        files::replace(&path, text.as_bytes()).map_err(|error| not_written(&path, error))?;
    }
    Ok(())
}

fn show(context: &Context, folder: &Path, report: &Report<'_>) -> Result<(), CommandError> {
    if context.ui.json() {
        return context.ui.print_json(report);
    }
    context.ui.print_raw(&report.table())?;
    for name in [DOCUMENT_NAME, PAGE_NAME] {
        context.ui.print(shown_path(context, &folder.join(name)))?;
    }
    Ok(())
}

fn not_written(path: &Path, error: std::io::Error) -> CommandError {
    CommandError::error("The report cannot be written")
        .detail(format!("It goes to {}.", path.display()))
        .cause(error)
        .hint("name another folder with --out")
}

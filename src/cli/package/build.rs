//! `rmx package build`.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::bundle::package::{self, BuildOptions, Cache, Progress, Recipe};

use super::super::context::Context;
use super::super::error::{CommandError, ExitStatus};
use super::error::{NOT_BUILT, told_under};
use super::table::show;

/// Build a function package by a recipe, in a folder that `package` under [function] can name
///
/// Components are fetched through npm, pip, apt-get and curl, so that their settings apply, checked against the recipe's digests
/// and kept in the user's cache: the next build needs no network. The same components make the same package on every machine.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// The recipe [default: the one for x86_64 that comes with rmx]
    #[arg(value_name = "RECIPE")]
    recipe: Option<PathBuf>,
    /// Where the package goes; a package that is there is replaced [default: package-ARCHITECTURE]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The worker to put in, as scripts/build-worker builds it [default: rmx-worker beside rmx]
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// Add an optional component; may be given several times
    #[arg(long, value_name = "NAME")]
    with: Vec<String>,
    /// Leave out a component, for example because a layer brings it; may be given several times
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// Put in nothing but these, for example to make a layer of them; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with_all = ["with", "without"])]
    only: Vec<String>,
    /// Fetch nothing: take every component from the cache
    #[arg(long)]
    offline: bool,
}

pub(super) async fn cmd_build(
    context: &Context,
    args: &BuildArgs,
) -> Result<ExitStatus, CommandError> {
    let recipe = match &args.recipe {
        Some(path) => Recipe::load(&context.path(path)),
        None => Recipe::shipped(),
    }
    .map_err(told_under(NOT_BUILT))?;
    let names = recipe.names(&args.with, &args.without, &args.only);
    let names = names.map_err(told_under(NOT_BUILT))?;
    let target = match &args.out {
        Some(folder) => context.path(folder),
        None => context.path(format!("package-{}", recipe.architecture).as_ref()),
    };
    let worker = match &args.worker {
        Some(worker) => context.path(worker),
        None => context.env.executable.with_file_name("rmx-worker"),
    };
    let options = BuildOptions {
        recipe: &recipe,
        worker: &worker,
        names: &names,
        cache: &Cache::of(&context.env),
        offline: args.offline,
    };
    let view = View::new(context);
    let built = package::build(options, &target, &|progress| view.show(progress)).await;
    view.clear();
    show(context, &target, &built.map_err(told_under(NOT_BUILT))?)
}

/// How much has come, of what is known to come in all.
const BAR: &str = "{msg} [{bar:32}] {bytes}/{total_bytes} ({bytes_per_sec}, {eta})";

/// How much has come, where nobody knows how much will.
const SPINNER: &str = "{spinner} {msg} {bytes}";

/// Fetching and unpacking as somebody sees it: a bar on a terminal, lines in a log.
struct View<'a> {
    context: &'a Context,
    bar: Option<ProgressBar>,
}

impl<'a> View<'a> {
    fn new(context: &'a Context) -> Self {
        let bar = context
            .ui
            .shows_progress_bars()
            .then(|| ProgressBar::new_spinner().with_style(style(SPINNER)));
        Self { context, bar }
    }

    fn show(&self, progress: Progress<'_>) {
        match (progress, &self.bar) {
            (Progress::Fetching { component }, Some(bar)) => {
                bar.reset();
                bar.unset_length();
                bar.set_message(format!("Fetching {component}"));
            }
            (Progress::Placing { component }, Some(bar)) => {
                bar.set_style(style(SPINNER));
                bar.set_message(format!("Unpacking {component}"));
            }
            (
                Progress::Bytes {
                    bytes, bytes_total, ..
                },
                Some(bar),
            ) => {
                if let (Some(total), None) = (bytes_total, bar.length()) {
                    bar.set_length(total);
                    bar.set_style(style(BAR));
                }
                bar.set_position(bytes);
                bar.tick();
            }
            (Progress::Fetching { component }, None) => {
                self.context.ui.say(format_args!("Fetching {component}"));
            }
            (Progress::Placing { component }, None) => {
                self.context.ui.say(format_args!("Unpacking {component}"));
            }
            (Progress::Bytes { .. }, None) => {}
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_indicatif_understands() {
        for template in [BAR, SPINNER] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}

//! `rmx plan`: what apply would change.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::plan::request::{PlanMode, PlanRequest};
use crate::state::{Record, RecordStatus, State, StateStore};

use super::context::{CONFIG_DEFAULT, Context, GlobalOptions};
use super::error::{CommandError, ExitStatus};
use super::farm::{self, Farm};
use super::planned::{self, GateOptions, Planned, RequestOptions};
use super::preflight::{PreflightOptions, require_possible};
use super::recorded::state_store;
use super::saved_plan;
use super::view;

/// How often a plan is made anew because the state moved in the meantime.
const TRIES_MAX: u32 = 5;

/// Show what `apply` would change
///
/// Compares the configuration with what the cloud has now and with what rmx recorded. Changes nothing and takes no
/// lock. While somebody else changes the farm it ends with 11 and says who.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlanArgs {
    /// How the plan is written; `--json` means `--format json`
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
    /// End with 2 if there are changes: 0 means none, 1 an error
    #[arg(long)]
    detailed_exitcode: bool,
    /// Plan to destroy everything
    #[arg(long, conflicts_with_all = ["refresh_only", "replace"])]
    destroy: bool,
    #[command(flatten)]
    options: RequestOptions,
    #[command(flatten)]
    gate: GateOptions,
    #[command(flatten)]
    preflight: PreflightOptions,
    /// Save the plan to a file, for `rmx apply FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How a plan is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: the shape of `terraform show -json PLAN`.
    Json,
    /// For pull requests: a comment with collapsed details, under 60 000 characters.
    Markdown,
}

pub(crate) async fn cmd_plan(
    context: &Context,
    args: &PlanArgs,
) -> Result<ExitStatus, CommandError> {
    let request = args.request();
    let config = planned::configuration(context, &request, true).await?;
    let farm = farm::connect(context, &config).await?;
    let store = state_store(&config, &farm).await?;
    let mut planned = at_rest(context, &config, &farm, &store, &request).await?;
    let preflight = args.preflight.check(context, &config, &farm, &mut planned);
    preflight.await;
    farm.shutdown().await;
    planned.refusals = args.gate.refusals(&config, &planned);

    if let Some(path) = &args.out {
        saved_plan::save(context, path, &planned)?;
    }
    show(context, args, &planned)?;
    args.gate.require_allowed(&config, &planned)?;
    planned.require_consent(&config)?;
    require_possible(&planned)?;
    Ok(match planned.plan.is_empty() {
        false if args.detailed_exitcode => ExitStatus::Changes,
        _ => ExitStatus::Success,
    })
}

/// The plan on a state that stayed the same while the cloud was read, and of which nobody is changing anything: what somebody's apply has
/// half done did not happen outside of rmx.
async fn at_rest(
    context: &Context,
    config: &Config,
    farm: &Farm,
    store: &StateStore,
    request: &PlanRequest,
) -> Result<Planned, CommandError> {
    let mut state = store.load().await?;
    let mut tries = 1;
    loop {
        let known = state.clone().unwrap_or_else(State::fresh);
        let made = planned::make(context, config, farm, &known, request.clone(), None).await;
        let says_nothing =
            |planned: &Planned| planned.plan.is_empty() && planned.plan.drift.is_empty();
        if made.as_ref().is_ok_and(says_nothing) {
            return made;
        }
        // An apply saves the state before each of its changes.
        let now = store.load().await?;
        let moved = now != state;
        let is_open = |record: &Record| record.status == RecordStatus::Pending;
        let open = now
            .as_ref()
            .is_some_and(|now| now.records.values().any(is_open));
        if moved || open {
            // Who may not look at the lock sees the plan all the same.
            if let Ok(Some(held)) = store.held().await {
                return Err(held.into());
            }
        }
        if !moved || tries == TRIES_MAX {
            return made;
        }
        (state, tries) = (now, tries + 1);
    }
}

impl PlanArgs {
    fn request(&self) -> PlanRequest {
        match self.destroy {
            true => PlanRequest {
                mode: PlanMode::Destroy,
                ..self.options.request()
            },
            false => self.options.request(),
        }
    }
}

fn show(context: &Context, args: &PlanArgs, planned: &Planned) -> Result<(), CommandError> {
    let ui = &context.ui;
    let saved = saved_plan::as_saved(planned);
    match args.format {
        Format::Json => ui.print_json(&view::plan_json(&saved)),
        Format::Text if ui.json() => ui.print_json(&view::plan_json(&saved)),
        Format::Markdown => ui.print_raw(&view::plan_markdown(&saved)),
        Format::Text => {
            ui.print_raw(&view::plan_text(
                &planned.plan,
                &planned.losses,
                planned.request.mode,
                ui,
            ))?;
            if !planned.plan.is_empty() {
                ui.print_raw(&view::code_size_text(planned.code_size.as_ref(), ui))?;
                ui.print_raw(&view::cost_text(planned.cost.as_ref(), ui))?;
            }
            ui.print_raw(&view::preflight_text(planned.preflight.as_ref(), ui))?;
            match &args.out {
                Some(path) if saved.is_applyable() => {
                    ui.print_raw(&(saved_to(path) + &how_to_apply(path, &context.global)))
                }
                Some(path) => ui.print_raw(&saved_to(path)),
                None => Ok(()),
            }
        }
    }
}

fn saved_to(path: &Path) -> String {
    format!("\nSaved the plan to: {}\n", path.display())
}

fn how_to_apply(path: &Path, options: &GlobalOptions) -> String {
    let mut command = format!("rmx apply \"{}\"", path.display());
    if let Some(stage) = &options.stage {
        command.push_str(&format!(" --stage {stage}"));
    }
    if options.config != Path::new(CONFIG_DEFAULT) {
        command.push_str(&format!(" --config \"{}\"", options.config.display()));
    }
    if let Some(directory) = &options.directory {
        command.push_str(&format!(" -C \"{}\"", directory.display()));
    }
    format!(
        "\nTo perform exactly these actions, run the following command to apply:\n    {command}\n"
    )
}

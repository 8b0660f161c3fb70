//! `rmx plan`: what apply would change.

use crate::plan::change::{Desired, Plan};
use crate::plan::{self, PlanError};
use crate::state::State;

use super::context::Context;
use super::error::{CommandError, CommandErrorKind, ExitStatus};
use super::farm::{self, Farm};
use super::project::{Project, build_sites};
use super::recorded::state_store;
use super::view;

/// Show what `apply` would change
///
/// Compares the configuration with what the cloud has now and with what rmx recorded. Changes nothing and takes no
/// lock.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlanArgs {
    /// How the plan is written; `--json` means `--format json`
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
    /// End with 2 if there are changes: 0 means none, 1 an error
    #[arg(long)]
    detailed_exitcode: bool,
    /// Plan to destroy everything
    #[arg(long)]
    destroy: bool,
    /// Save the plan to a file (not there yet)
    #[arg(long, value_name = "FILE", hide = true)]
    out: Option<std::path::PathBuf>,
}

/// How a plan is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: the shape of `terraform show -json PLAN`.
    Json,
    /// For pull requests (not there yet).
    #[value(hide = true)]
    Markdown,
}

pub(crate) async fn cmd_plan(
    context: &Context,
    args: &PlanArgs,
) -> Result<ExitStatus, CommandError> {
    refuse(args)?;
    let config = if args.destroy {
        context.config()?
    } else {
        context.config_with_folders()?
    };
    if !args.destroy {
        build_sites(context, &config).await?;
    }
    let farm = farm::connect(context, &config).await?;
    let state = state_store(&config).load()?.unwrap_or_else(State::fresh);
    let desired = match args.destroy {
        true => Desired::default(),
        false => Project::read(context, &config)?.desired(&config, &farm.identity),
    };
    let plan = observe_and_plan(&farm, &desired, &state).await?;
    farm.shutdown().await;

    if args.format == Format::Json || context.ui.json() {
        context.ui.print_json(&view::plan_json(&plan))?;
    } else {
        context
            .ui
            .print_raw(&view::plan_text(&plan, args.destroy, &context.ui))?;
    }
    Ok(match plan.is_empty() {
        false if args.detailed_exitcode => ExitStatus::Changes,
        _ => ExitStatus::Success,
    })
}

/// What leads from what there is now to `desired`.
///
/// # Errors
/// The cloud cannot be read, or there is no such plan.
pub(super) async fn observe_and_plan(
    farm: &Farm,
    desired: &Desired,
    state: &State,
) -> Result<Plan, CommandError> {
    let identity = farm.identity.clone();
    let observed = plan::observe::observe(&farm.cloud, identity, desired, state).await?;
    Ok(plan::make(desired, &observed, state)?)
}

fn refuse(args: &PlanArgs) -> Result<(), CommandError> {
    let refused = |what: &str, hint: &str| {
        Err(CommandError::usage(format!("{what} is not there yet")).hint(hint))
    };
    if args.out.is_some() {
        return refused(
            "--out",
            "run `rmx apply`: it plans, shows the plan, and asks before it applies it",
        );
    }
    if args.format == Format::Markdown {
        return refused("--format markdown", "use --format text or --format json");
    }
    Ok(())
}

impl From<PlanError> for CommandError {
    fn from(error: PlanError) -> Self {
        match &error {
            PlanError::Foreign { .. } => CommandError::error("A name is taken").cause(error).hint(
                "rename the project, the stage or (for a bucket) `name` under [bucket], or delete what is there",
            ),
            PlanError::OtherCloud { recorded, .. } => {
                let hint = format!(
                    "use the credentials and region of account {}, or another stage for another cloud",
                    recorded.account
                );
                CommandError::error("The state belongs to another cloud").cause(error).hint(hint)
            }
            PlanError::Wrong(_) => {
                CommandError::new(CommandErrorKind::Internal, "This is a bug in rmx").cause(error)
            }
        }
    }
}

//! `rmx apply`: makes the cloud what the configuration says.

use std::collections::BTreeMap;

use crate::apply::{self, Applied, ApplyError, Artefacts, ChangeError, Inputs};
use crate::cloud::CloudErrorKind;
use crate::config::Config;
use crate::plan::change::Plan;
use crate::state::{Holder, LockedStore};

use super::context::Context;
use super::error::{CommandError, CommandErrorKind, ExitStatus};
use super::farm::{self, Farm};
use super::plan::observe_and_plan;
use super::project::{Project, build_sites};
use super::recorded::state_store;
use super::view;

/// Make the cloud what the configuration says
///
/// Plans, shows the plan, asks, and carries it out. Applying twice changes nothing the second time. Whatever
/// interrupts an apply, the next one goes on from there.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ApplyArgs {
    /// Do not ask
    #[arg(long)]
    auto_approve: bool,
    /// A saved plan (not there yet)
    #[arg(value_name = "PLANFILE", hide = true)]
    plan_file: Option<std::path::PathBuf>,
}

pub(crate) async fn cmd_apply(
    context: &Context,
    args: &ApplyArgs,
) -> Result<ExitStatus, CommandError> {
    refuse_plan_file(args)?;
    let config = context.config_with_folders()?;
    build_sites(context, &config).await?;
    let farm = farm::connect(context, &config).await?;
    let mut store = state_store(&config).lock(&Holder::new(&context.env, "rmx apply"))?;

    let project = Project::read(context, &config)?;
    let desired = project.desired(&config, &farm.identity);
    let plan = observe_and_plan(&farm, &desired, store.state()).await?;

    view::announce(&context.ui, &plan, false)?;
    if plan.is_empty() {
        farm.shutdown().await;
        return view::applied(&context.ui, &[], store.state(), false);
    }
    if !approved(
        context,
        args.auto_approve,
        "Do you want to perform these actions?",
    )
    .await?
    {
        return Ok(ExitStatus::Declined);
    }

    let work = Work {
        plan: &plan,
        artefacts: &project.artefacts(),
        secrets: &project.secrets,
    };
    let applied = carry_out(context, &config, &farm, &mut store, work).await?;
    farm.shutdown().await;
    view::applied(&context.ui, &applied.done, store.state(), false)
}

/// What is carried out.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) plan: &'a Plan,
    pub(super) artefacts: &'a Artefacts,
    pub(super) secrets: &'a BTreeMap<String, String>,
}

/// Carries a plan out, showing how it goes and saving the state after every step.
///
/// # Errors
/// A change failed, or the user stopped it. The state is saved in any case.
pub(super) async fn carry_out(
    context: &Context,
    config: &Config,
    farm: &Farm,
    store: &mut LockedStore,
    work: Work<'_>,
) -> Result<Applied, CommandError> {
    let stop = context.interrupt.stop();
    let inputs = Inputs {
        plan: work.plan,
        artefacts: work.artefacts,
        secrets: work.secrets,
        delete_bucket_content: config.bucket.force_destroy,
        cloud: &farm.cloud,
        stop: &stop,
    };
    let mut state = store.state().clone();
    let applied = apply::apply(
        inputs,
        &mut state,
        &mut |state| Ok(store.save(state)?),
        &|event| view::event(&context.ui, work.plan, &event),
    )
    .await?;
    if applied.remaining.is_empty() {
        return Ok(applied);
    }
    Err(
        CommandError::new(CommandErrorKind::Interrupted, "Interrupted")
            .detail(progress(applied.done.len(), &applied.remaining))
            .hint("run the same command again: it goes on from there"),
    )
}

/// Whether the user wants it.
pub(super) async fn approved(
    context: &Context,
    auto_approve: bool,
    question: &'static str,
) -> Result<bool, CommandError> {
    if auto_approve {
        return Ok(true);
    }
    let answer = context.ui.confirm(question, "--auto-approve").await?;
    if !answer {
        context.ui.say("Nothing was done.");
    }
    Ok(answer)
}

fn refuse_plan_file(args: &ApplyArgs) -> Result<(), CommandError> {
    match &args.plan_file {
        None => Ok(()),
        Some(_) => Err(
            CommandError::usage("Applying a saved plan is not there yet")
                .hint("run `rmx apply`: it plans, shows the plan, and asks before it applies it"),
        ),
    }
}

fn progress(done: usize, remaining: &[crate::resource::Address]) -> String {
    let names: Vec<String> = remaining.iter().map(ToString::to_string).collect();
    match names.len() {
        0 => format!("{done} changes are done and recorded."),
        _ => format!(
            "{done} changes are done and recorded. Not done: {}.",
            names.join(", ")
        ),
    }
}

impl From<ApplyError> for CommandError {
    fn from(error: ApplyError) -> Self {
        let mut remaining = vec![error.address.clone()];
        remaining.extend(error.remaining.iter().cloned());
        let detail = progress(error.done.len(), &remaining);
        let hint = match &error.cause {
            ChangeError::BucketNotEmpty { .. } => {
                "delete the objects, or set `force_destroy = true` under [bucket] to have them deleted"
            }
            ChangeError::Foreign { .. } => "rename what is wanted, or delete what is there",
            ChangeError::SaveState(_) => {
                "make room or make the folder writable, then run the same command again"
            }
            ChangeError::Cloud(_)
            | ChangeError::Moved
            | ChangeError::Vanished
            | ChangeError::NoCode(_)
            | ChangeError::NoBucketForCode(_)
            | ChangeError::NoFolder(_)
            | ChangeError::Artefact { .. }
            | ChangeError::ReadFile { .. }
            | ChangeError::Secret { .. }
            | ChangeError::Lambda { .. }
            | ChangeError::RoleNotReady { .. } => {
                "mend what is named above, then run the same command again: it goes on from there"
            }
        };
        let kind = match &error.cause {
            _ if !error.done.is_empty() => CommandErrorKind::Partial,
            ChangeError::Moved | ChangeError::Artefact { .. } => CommandErrorKind::StalePlan,
            ChangeError::Cloud(cause) if cause.kind == CloudErrorKind::Credentials => {
                CommandErrorKind::Credentials
            }
            _ => CommandErrorKind::Error,
        };
        CommandError::new(kind, "A change failed")
            .detail(detail)
            .cause(error)
            .hint(hint)
    }
}

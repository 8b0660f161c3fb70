//! `rmx apply`: makes the cloud what the configuration says.

use std::path::PathBuf;

use crate::apply::{self, Applied, ApplyError, ChangeError, Inputs, SmokeCheck};
use crate::cloud::CloudErrorKind;
use crate::cloud::wait::Patience;
use crate::config::{Config, WorkerKind};
use crate::resource::Address;
use crate::state::{LockedStore, State};

use super::context::Context;
use super::error::{CommandError, CommandErrorKind, ExitStatus};
use super::farm::{self, Farm};
use super::lock::{self, GO_ON, LockOptions, with_lock};
use super::planned::{self, GateOptions, Planned, RequestOptions};
use super::preflight::{PreflightOptions, require_possible};
use super::recorded::{self, state_store};
use super::saved_plan;
use super::smoke;
use super::view;

/// Make the cloud what the configuration says
///
/// Plans, shows the plan, asks, and carries it out. Applying twice changes nothing the second time. Whatever
/// interrupts an apply, the next one goes on from there.
///
/// With PLANFILE, which `rmx plan --out` wrote, exactly that plan is carried out, without asking. If the
/// configuration, what it uploads, the state or anything in the cloud has moved since, nothing is done and the exit
/// code is 10. Sites are not built again: their folders must be as they were.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ApplyArgs {
    /// Do not ask
    #[arg(long)]
    auto_approve: bool,
    #[command(flatten)]
    options: RequestOptions,
    #[command(flatten)]
    gate: GateOptions,
    #[command(flatten)]
    preflight: PreflightOptions,
    #[command(flatten)]
    lock: LockOptions,
    /// Have each new version of the function render a built-in composition before `live` moves to it, as `smoke = true`
    /// under [function] does
    #[arg(long)]
    smoke: bool,
    /// A saved plan
    #[arg(value_name = "PLANFILE", conflicts_with_all = ["refresh_only", "replace", "delete_data"])]
    plan_file: Option<PathBuf>,
}

pub(crate) async fn cmd_apply(
    context: &Context,
    args: &ApplyArgs,
) -> Result<ExitStatus, CommandError> {
    let saved = match &args.plan_file {
        Some(path) => Some(saved_plan::load(context, path)?),
        None => None,
    };
    let request = match &saved {
        Some(saved) => saved.request.clone(),
        None => args.options.request(),
    };
    let mut config = planned::configuration(context, &request, saved.is_none()).await?;
    config.function.smoke |= args.smoke;
    if config.function.smoke && config.function.worker == WorkerKind::Remotion {
        return Err(
            CommandError::usage("--smoke does not go with Remotion's function")
                .detail("It does not know the built-in composition.")
                .hint("leave it out; a render of your own with `rmx render` tells as much"),
        );
    }
    let farm = farm::connect(context, &config).await?;
    let store = state_store(&config, &farm).await?;

    let outcome = with_lock(context, &store, "rmx apply", &args.lock, async |store| {
        let mut planned = planned::make(
            context,
            &config,
            &farm,
            store.state(),
            request,
            saved.as_ref(),
        )
        .await?;
        if let Some(saved) = &saved {
            saved_plan::require_same(saved, &mut planned)?;
        }
        let preflight = args.preflight.check(context, &config, &farm, &mut planned);
        preflight.await;

        view::announce(&context.ui, &planned)?;
        let gate = args.gate.and_of(saved.as_ref());
        gate.require_allowed(&config, &planned)?;
        planned.require_consent(&config)?;
        require_possible(&planned)?;
        if planned.plan.is_empty() {
            return view::applied(&context.ui, &planned, &[], store.state());
        }
        // Whoever saved a plan has looked at it.
        let asks = saved.is_none() && !args.auto_approve;
        if asks && !approved(context, store, "Do you want to perform these actions?").await? {
            return Ok(ExitStatus::Declined);
        }

        let smoke = config.function.smoke;
        let applied = carry_out(context, &config, &farm, store, &planned, smoke).await;
        let applied = applied.map_err(|error| saved_plan::cut_off(saved.as_ref(), error))?;
        view::applied(&context.ui, &planned, &applied.done, store.state())
    });
    let outcome = outcome.await;
    farm.shutdown().await;
    outcome
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
    planned: &Planned,
    smoke: bool,
) -> Result<Applied, CommandError> {
    let stop = context.interrupt.stop().child_token();
    let check = smoke::check(config, farm, &stop);
    let inputs = Inputs {
        plan: &planned.plan,
        artefacts: &planned.artefacts,
        secrets: &planned.secrets,
        delete_bucket_content: planned.deletes_bucket_content(config),
        inline_code_bytes_max: planned.inline_code_bytes_max(),
        role_patience: Patience::ROLE,
        smoke: Some(SmokeCheck {
            always: smoke,
            check: &check,
        }),
        cloud: &farm.cloud,
        stop: &stop,
    };
    let lost = store.lost();
    let mut state = store.state().clone();
    let mut save = async |state: &mut State| Ok(store.save(state).await?);
    let on_event = |event| view::event(&context.ui, &planned.plan, &event);
    let applying = apply::apply(inputs, &mut state, &mut save, &on_event);
    // Whoever has lost the lock stops as if asked to.
    let stop_when_lost = async {
        lost.cancelled().await;
        stop.cancel();
        std::future::pending().await
    };
    let applied = tokio::select! {
        applied = applying => applied?,
        never = stop_when_lost => never,
    };
    if applied.remaining.is_empty() {
        return Ok(applied);
    }
    let mut progress = progress(applied.done.len(), &applied.remaining);
    if applied.begun {
        progress = format!("{progress} {} is changed in part.", applied.remaining[0]);
    }
    let begun = applied.begun || !applied.done.is_empty();
    Err(lock::stopped(store, progress, begun))
}

/// Whether the user wants it.
///
/// # Errors
/// Nobody can be asked, or the lock was lost before the answer came.
pub(super) async fn approved(
    context: &Context,
    store: &LockedStore,
    question: &'static str,
) -> Result<bool, CommandError> {
    let answer = context.ui.confirm(question, "--auto-approve").await?;
    if store.lost().is_cancelled() {
        return Err(store.lock_lost().into());
    }
    if !answer {
        context.ui.say("Nothing was done.");
    }
    Ok(answer)
}

fn progress(done: usize, remaining: &[Address]) -> String {
    let names: Vec<String> = remaining.iter().map(ToString::to_string).collect();
    let done = match done {
        0 => "No change is done and recorded.".to_owned(),
        1 => "1 change is done and recorded.".to_owned(),
        _ => format!("{done} changes are done and recorded."),
    };
    match names.len() {
        0 => done,
        _ => format!("{done} Not done: {}.", names.join(", ")),
    }
}

impl From<ApplyError> for CommandError {
    fn from(error: ApplyError) -> Self {
        let mut remaining = error.remaining.clone();
        if !error.finished {
            remaining.insert(0, error.address.clone());
        }
        let mut detail = progress(error.done.len(), &remaining);
        if error.begun {
            let how = match error.finished {
                true => "was changed, and that is not recorded",
                false => "is changed in part",
            };
            detail = format!("{detail} {} {how}.", error.address);
        }
        let hint = match &error.cause {
            // Half of it is done by now, so it is not the plan that has to be looked at.
            _ if error.begun && stale(&error.cause) => {
                "look at `rmx plan`, then apply again: it goes on from there"
            }
            cause if stale(cause) => {
                "plan again and look at it: a saved plan that is stale stays stale (`rmx plan --out FILE` makes another)"
            }
            ChangeError::BucketNotEmpty { .. } => {
                "delete the objects, pass --delete-data, or set `force_destroy = true` under [bucket]"
            }
            ChangeError::Smoke { .. } => {
                "mend what is named above (the package, its memory, its layers, the role), then run the same command again: \
                 the version is tried again before anything goes live"
            }
            ChangeError::Foreign { .. } => "rename what is wanted, or delete what is there",
            ChangeError::SaveState(cause) => &recorded::not_recorded(cause).1,
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
                &format!("mend what is named above, then {GO_ON}")
            }
        };
        let kind = kind(&error);
        CommandError::new(kind, "A change failed")
            .detail(detail)
            .cause(error)
            .hint(hint)
    }
}

/// What kind of failure it is that a change failed.
pub(super) fn kind(error: &ApplyError) -> CommandErrorKind {
    let unrecorded = match &error.cause {
        ChangeError::SaveState(cause) => Some(recorded::not_recorded(cause).0),
        _ => None,
    };
    match &error.cause {
        _ if !error.done.is_empty() || error.begun => CommandErrorKind::Partial,
        // The version is there, and is not live: that is half of the change.
        ChangeError::Smoke { .. } => CommandErrorKind::Partial,
        cause if stale(cause) => CommandErrorKind::StalePlan,
        ChangeError::Cloud(cause) if cause.kind == CloudErrorKind::Credentials => {
            CommandErrorKind::Credentials
        }
        _ => unrecorded.unwrap_or(CommandErrorKind::Error),
    }
}

/// Whether what was planned is not what is there any more.
pub(super) fn stale(cause: &ChangeError) -> bool {
    match cause {
        ChangeError::Moved | ChangeError::Artefact { .. } => true,
        // AWS itself found that the object is not the one that was looked at.
        ChangeError::Cloud(cause) => cause.kind == CloudErrorKind::PreconditionFailed,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::Ui;
    use crate::plan::change::Action;
    use crate::state::StateError;

    #[test]
    fn a_stale_plan_is_not_to_be_run_again() {
        let error = CommandError::from(ApplyError {
            address: "function.worker".parse().unwrap(),
            action: Action::Update,
            cause: ChangeError::Moved,
            begun: false,
            finished: false,
            done: Vec::new(),
            remaining: Vec::new(),
        });
        assert_eq!(error.to_json()["exit_code"], 10);
        let text = error.render(&Ui::plain());
        assert!(!text.contains("run the same command again"), "{text}");
        assert!(
            text.contains("No change is done and recorded. Not done: function.worker."),
            "{text}"
        );
        // Half of the one change is done: the plan is not all that there is to say.
        let error = CommandError::from(ApplyError {
            address: "function.worker".parse().unwrap(),
            action: Action::Replace,
            cause: ChangeError::Moved,
            begun: true,
            finished: false,
            done: Vec::new(),
            remaining: Vec::new(),
        });
        assert_eq!(error.to_json()["exit_code"], 15);
        let text = error.render(&Ui::plain());
        assert!(
            text.contains("function.worker is changed in part."),
            "{text}"
        );
        assert_eq!(progress(1, &[]), "1 change is done and recorded.");
        assert_eq!(progress(2, &[]), "2 changes are done and recorded.");
    }

    #[test]
    fn a_lock_that_was_lost_half_way_is_a_change_in_part() {
        let lost = |begun, finished| {
            let lost = StateError::LockLost {
                place: "s3://states/default.json".to_owned(),
                holder: None,
            };
            let error = CommandError::from(ApplyError {
                address: "function.worker".parse().unwrap(),
                action: Action::Update,
                cause: ChangeError::SaveState(lost.into()),
                begun,
                finished,
                done: Vec::new(),
                remaining: Vec::new(),
            });
            let code = error.to_json()["exit_code"].clone();
            (code, error.render(&Ui::plain()))
        };
        assert_eq!(lost(false, false).0, 11);
        // Half of a replacement, and the whole of it.
        for (finished, said) in [
            (
                false,
                "Not done: function.worker. function.worker is changed in part.",
            ),
            (
                true,
                "No change is done and recorded. function.worker was changed, and that is not recorded.",
            ),
        ] {
            let (code, text) = lost(true, finished);
            assert_eq!(code, 15);
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn what_failed_half_way_names_what_is_left() {
        let error = CommandError::from(ApplyError {
            address: "bucket.main".parse().unwrap(),
            action: Action::Delete,
            cause: ChangeError::BucketNotEmpty {
                bucket: "videos".parse().unwrap(),
                objects: 1,
                size_bytes: 2,
                example: "renders/1/out.mp4".to_owned(),
            },
            begun: false,
            finished: false,
            done: vec![apply::Completed {
                address: "site.hello".parse().unwrap(),
                action: Action::Delete,
            }],
            remaining: vec!["role.main".parse().unwrap()],
        });
        assert_eq!(error.to_json()["exit_code"], 15);
        let text = error.render(&Ui::plain());
        let left = "1 change is done and recorded. Not done: bucket.main, role.main.";
        assert!(text.contains(left), "{text}");
        assert!(text.contains("--delete-data"), "{text}");
    }
}

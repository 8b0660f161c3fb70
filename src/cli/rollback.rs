//! `rmx rollback`: `live` goes back to a version that was released before.

use serde_json::json;

use crate::apply::{self, ApplyError, ChangeError, Rollback};
use crate::cloud::Cloud;
use crate::plan::rollback::{RollbackError, Standing};
use crate::resource::function::invokes_latest;
use crate::resource::{Address, Resource, ResourceKind};
use crate::state::{CloudIdentity, Record, RecordStatus, State};

use super::apply::{approved, kind, stale};
use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm;
use super::lock::{LockOptions, stopped, unless_stopped, with_lock};
use super::recorded::{self, state_store};

/// Point `live` to the version that was released before
///
/// Moves the `live` alias of every function to the release before the one it points to, or to the one that --to names.
/// Renders that have begun go on with the version they began with; new ones use the version that `live` points to. Nothing
/// else is changed: sites, role, bucket and log group stay as they are, and so does the configuration. The next
/// `rmx apply` therefore releases what remotion.toml declares again; `rmx plan` shows it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The version to go to, one that `rmx versions` lists as released [default: the release before the live one]
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
    /// Only this function, for example function.worker-2 [default: all]
    #[arg(long, value_name = "ADDRESS")]
    function: Option<Address>,
    /// Do not ask
    #[arg(long)]
    auto_approve: bool,
    #[command(flatten)]
    lock: LockOptions,
}

/// Where one function's `live` goes.
struct Step {
    from: u64,
    rollback: Rollback,
    /// It is there and recorded as being there.
    done: bool,
}

pub(crate) async fn cmd_rollback(
    context: &Context,
    args: &RollbackArgs,
) -> Result<ExitStatus, CommandError> {
    let config = context.config()?;
    let farm = farm::connect(context, &config).await?;
    let store = state_store(&config, &farm).await?;
    let outcome = with_lock(context, &store, "rmx rollback", &args.lock, async |store| {
        let mut state = store.state().clone();
        require_same_cloud(&state, &farm.identity)?;

        let mut steps = Vec::new();
        for (address, record) in functions(&state, args.function.as_ref())? {
            steps.push(step(&farm.cloud, address, record, args.to).await?);
        }
        steps.iter().for_each(|step| announce(context, step));
        steps.retain(|step| !step.done);
        if steps.is_empty() {
            return told(context, &state, &steps);
        }
        if !args.auto_approve && !approved(context, store, "Do you want to move `live`?").await? {
            return Ok(ExitStatus::Declined);
        }

        let rollbacks: Vec<Rollback> = steps.iter().map(|step| step.rollback.clone()).collect();
        let lost = store.lost();
        let mut save = async |state: &mut State| Ok(store.save(state).await?);
        let (cloud, identity) = (&farm.cloud, &farm.identity);
        let rolling_back = apply::roll_back(&rollbacks, cloud, identity, &mut state, &mut save);
        match unless_stopped(context, &lost, rolling_back).await {
            Some(rolled_back) => rolled_back.map_err(|error| failed(&rollbacks, error))?,
            None => return Err(stopped(store, targets(&rollbacks), true)),
        }
        told(context, &state, &steps)
    });
    let outcome = outcome.await;
    farm.shutdown().await;
    outcome
}

/// The recorded functions, or the one that is asked for.
pub(super) fn functions<'a>(
    state: &'a State,
    only: Option<&Address>,
) -> Result<Vec<(&'a Address, &'a Record)>, CommandError> {
    let found = state.records.iter().filter(|(address, _)| {
        address.kind == ResourceKind::Function && only.is_none_or(|only| only == *address)
    });
    let found: Vec<_> = found.collect();
    if !found.is_empty() {
        return Ok(found);
    }
    Err(match only {
        Some(address) => CommandError::error("The state does not record that")
            .detail(format!("There is no function `{address}` in it."))
            .hint("`rmx state list` names what it records"),
        None => CommandError::error("There is no render farm yet").hint("run `rmx apply` first"),
    })
}

/// What is recorded is in the cloud that is connected to.
pub(super) fn require_same_cloud(state: &State, found: &CloudIdentity) -> Result<(), CommandError> {
    match &state.deployed_to {
        Some(recorded) if recorded != found => Err(crate::plan::PlanError::OtherCloud {
            recorded: recorded.clone(),
            found: found.clone(),
        }
        .into()),
        _ => Ok(()),
    }
}

async fn step(
    cloud: &Cloud,
    address: &Address,
    record: &Record,
    to: Option<u64>,
) -> Result<Step, CommandError> {
    let Resource::Function(spec) = &record.applied else {
        return Err(RollbackError::NoAlias(address.clone()).into());
    };
    let (alias, versions) = tokio::join!(
        cloud.live_alias(&spec.name),
        cloud.function_versions(&spec.name)
    );
    let alias = alias?.ok_or_else(|| RollbackError::NoAlias(address.clone()))?;
    let versions = versions?;
    let of_remotion = versions
        .iter()
        .filter(|version| invokes_latest(&version.runtime));
    let of_remotion: Vec<u64> = of_remotion.map(|version| version.number).collect();
    let there: Vec<u64> = versions.iter().map(|version| version.number).collect();
    let standing = Standing {
        address,
        record,
        // An alias that somebody pointed to `$LATEST` is at no release.
        live: Some(alias.version.parse().unwrap_or_default()),
        there: &there,
        of_remotion: &of_remotion,
    };
    let version = standing.target(to)?;
    let from = standing.live.unwrap_or_default();
    Ok(Step {
        from,
        done: from == version && record.status == RecordStatus::Complete,
        rollback: Rollback {
            address: address.clone(),
            version,
            revision_id: alias.revision_id,
        },
    })
}

fn announce(context: &Context, step: &Step) {
    let Rollback {
        address, version, ..
    } = &step.rollback;
    context.ui.say(match step.done {
        true => format!("{address}: live points to version {version} already"),
        false => format!(
            "{address}: live moves from version {} to {version}",
            step.from
        ),
    });
}

fn told(context: &Context, state: &State, steps: &[Step]) -> Result<ExitStatus, CommandError> {
    let behind = |step: &&Step| match state.records.get(&step.rollback.address) {
        Some(record) => !matches!(&record.applied, Resource::Function(spec) if spec.published),
        None => false,
    };
    let left: Vec<&Step> = steps.iter().filter(behind).collect();
    if context.ui.json() {
        let moved = steps.iter().map(|step| {
            json!({
                "address": step.rollback.address,
                "from": step.from,
                "to": step.rollback.version,
            })
        });
        let moved: Vec<_> = moved.collect();
        context.ui.print_json(&json!({
            "moved": moved,
            "next_apply_releases": left.iter().map(|step| &step.rollback.address).collect::<Vec<_>>(),
        }))?;
        return Ok(ExitStatus::Success);
    }
    for step in steps {
        context.ui.print(format_args!(
            "{}: live points to version {}",
            step.rollback.address, step.rollback.version
        ))?;
    }
    if !left.is_empty() {
        context.ui.say(
            "remotion.toml still declares what was rolled back: the next `rmx apply` releases it again, as `rmx plan` \
             shows. Change it back, or do not apply until it is mended.",
        );
    }
    Ok(ExitStatus::Success)
}

fn failed(rollbacks: &[Rollback], error: ApplyError) -> CommandError {
    let hint = match &error.cause {
        ChangeError::SaveState(cause) => recorded::not_recorded(cause).1,
        cause if stale(cause) => {
            "somebody else moved `live` at the same time: look at `rmx versions`, then name the version with --to".to_owned()
        }
        _ => "mend what is named above, then run the same command again: it goes on to the same versions".to_owned(),
    };
    let moved = error.done.iter().map(|done| done.address.to_string());
    let moved: Vec<_> = moved.collect();
    let progress = match (moved.is_empty(), error.begun) {
        (true, false) => "It has not moved anywhere.".to_owned(),
        (true, true) => format!("It may have moved for {}.", error.address),
        (false, _) => format!("It has moved for {}.", moved.join(", ")),
    };
    CommandError::new(kind(&error), "The rollback failed")
        .detail(format!("{} {progress}", targets(rollbacks)))
        .cause(error)
        .hint(hint)
}

/// What was wanted.
fn targets(rollbacks: &[Rollback]) -> String {
    let all = rollbacks
        .iter()
        .map(|one| format!("{} to version {}", one.address, one.version));
    format!(
        "`live` was to move: {}.",
        all.collect::<Vec<_>>().join(", ")
    )
}

impl From<RollbackError> for CommandError {
    fn from(error: RollbackError) -> Self {
        let hint = match &error {
            RollbackError::NoAlias(_) => "run `rmx apply`, which makes it",
            RollbackError::OfRemotion { .. } => {
                "bring back the remotion.toml and the node_modules that it was deployed from, and run `rmx apply`"
            }
            RollbackError::NoSuchVersion { .. }
            | RollbackError::NeverReleased { .. }
            | RollbackError::NothingBefore { .. } => {
                "`rmx versions` lists them; to release something else, change remotion.toml and run `rmx apply`"
            }
        };
        CommandError::error("There is no such release to go back to")
            .cause(error)
            .hint(hint)
    }
}

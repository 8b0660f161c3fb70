//! Points `live` of functions to versions they were released with before. Journalled like every other change.

use super::{ApplyError, ChangeError, Completed, SaveError};
use crate::cloud::{Cloud, CloudErrorKind, Wrote};
use crate::names::FunctionName;
use crate::plan::change::{Action, Observation, Present};
use crate::plan::observe::Observer;
use crate::resource::{Address, FunctionSpec, Resource};
use crate::state::{CloudIdentity, RecordStatus, State};

/// What is done to one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// Which function.
    pub address: Address,
    /// Where `live` is to point.
    pub version: u64,
    /// The alias's revision that this was decided on.
    pub revision_id: String,
}

/// Carries them out. All are recorded as begun before the first call and as complete after the last one, so that a rollback
/// which was killed in the middle goes on to the same versions the next time; the next plan looks at the functions
/// themselves. Doing it twice is the same as doing it once.
///
/// # Errors
/// An alias was moved by somebody else, a function is not ours, a call failed, or the state cannot be saved. The error
/// counts as done those functions whose alias is moved.
pub async fn roll_back(
    rollbacks: &[Rollback],
    cloud: &Cloud,
    identity: &CloudIdentity,
    state: &mut State,
    save: &mut impl AsyncFnMut(&mut State) -> Result<(), SaveError>,
) -> Result<(), ApplyError> {
    let Some(first) = rollbacks.first() else {
        return Ok(());
    };
    let lineage = state.lineage.clone();
    let observer = Observer {
        cloud,
        identity,
        lineage: &lineage,
    };
    let (mut moved, wrote) = (0, Wrote::default());
    let failed = |at: &Rollback, moved, cause| ApplyError {
        begun: wrote.anything(),
        ..failed(rollbacks, at, moved, cause)
    };
    for rollback in rollbacks {
        let looked = async { look(observer, &spec(state, rollback)?).await };
        let looked = looked.await;
        looked.map_err(|cause| failed(rollback, moved, cause))?;
    }
    for rollback in rollbacks {
        begin(state, rollback).map_err(|cause| failed(rollback, moved, cause))?;
    }
    let saved = save(state).await.map_err(ChangeError::SaveState);
    saved.map_err(|cause| failed(first, moved, cause))?;
    for rollback in rollbacks {
        let moving = async { move_alias(cloud, &spec(state, rollback)?.name, rollback).await };
        let done = wrote.watch(moving).await;
        done.map_err(|cause| failed(rollback, moved, cause))?;
        moved += 1;
    }
    for rollback in rollbacks {
        let ended = end(observer, state, rollback).await;
        ended.map_err(|cause| failed(rollback, moved, cause))?;
    }
    let saved = save(state).await.map_err(ChangeError::SaveState);
    saved.map_err(|cause| failed(first, moved, cause))
}

fn failed(rollbacks: &[Rollback], at: &Rollback, moved: usize, cause: ChangeError) -> ApplyError {
    let (done, _) = rollbacks.split_at(moved);
    let done = done.iter().map(|rollback| Completed {
        address: rollback.address.clone(),
        action: Action::Update,
    });
    let remaining = rollbacks
        .iter()
        .skip_while(|rollback| *rollback != at)
        .skip(1);
    ApplyError {
        address: at.address.clone(),
        action: Action::Update,
        cause,
        begun: false,
        done: done.collect(),
        remaining: remaining.map(|rollback| rollback.address.clone()).collect(),
    }
}

fn begin(state: &mut State, rollback: &Rollback) -> Result<(), ChangeError> {
    let record = state.records.get_mut(&rollback.address);
    let record = record.ok_or(ChangeError::Vanished)?;
    record.status = RecordStatus::Pending;
    record.release(rollback.version);
    Ok(())
}

async fn end(
    observer: Observer<'_>,
    state: &mut State,
    rollback: &Rollback,
) -> Result<(), ChangeError> {
    let spec = spec(state, rollback)?;
    let present = look(observer, &spec).await?;
    let record = state.records.get_mut(&rollback.address);
    let record = record.ok_or(ChangeError::Vanished)?;
    // What somebody else changed of the rest stays to be seen as drift.
    record.applied = Resource::Function(FunctionSpec {
        published: matches!(&present.spec, Resource::Function(now) if now.published),
        ..spec
    });
    record.outputs = present.outputs;
    record.status = RecordStatus::Complete;
    Ok(())
}

fn spec(state: &State, rollback: &Rollback) -> Result<FunctionSpec, ChangeError> {
    let record = state.records.get(&rollback.address);
    match record.map(|record| &record.applied) {
        Some(Resource::Function(spec)) => Ok(spec.clone()),
        Some(_) | None => Err(ChangeError::Vanished),
    }
}

async fn look(observer: Observer<'_>, spec: &FunctionSpec) -> Result<Present, ChangeError> {
    let spec = Resource::Function(spec.clone());
    match observer.read(&spec, &[&spec], None).await? {
        Observation::Present(present) => Ok(*present),
        Observation::Absent => Err(ChangeError::Vanished),
        Observation::Foreign { id, owner } => Err(ChangeError::Foreign { id, owner }),
    }
}

async fn move_alias(
    cloud: &Cloud,
    name: &FunctionName,
    rollback: &Rollback,
) -> Result<(), ChangeError> {
    let moved = cloud
        .move_live_alias(name, rollback.version, &rollback.revision_id)
        .await;
    let Err(error) = moved else { return Ok(()) };
    // The answer to an earlier try may have got lost on the way.
    let lost = error.kind == CloudErrorKind::PreconditionFailed
        && cloud
            .live_alias(name)
            .await?
            .is_some_and(|alias| alias.version == rollback.version.to_string());
    if lost { Ok(()) } else { Err(error.into()) }
}

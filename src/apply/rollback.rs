//! Points `live` of functions to versions they were released with before. Journalled like every other change.

use super::{ApplyError, ChangeError, Completed, SaveError};
use crate::cloud::{Cloud, CloudErrorKind, Wrote};
use crate::names::FunctionName;
use crate::plan::change::{Action, Observation, Present};
use crate::plan::in_use;
use crate::plan::observe::Observer;
use crate::resource::{Address, FunctionSpec, Resource};
use crate::state::{Claim, CloudIdentity, RecordStatus, State};

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
    let mut reached = Reached::default();
    let rolled_back = carry_out(rollbacks, cloud, identity, state, save, &mut reached).await;
    rolled_back.map_err(|cause| reached.failed(rollbacks, cause))
}

/// How far a rollback came.
#[derive(Default)]
struct Reached {
    /// Which function it is at.
    at: usize,
    /// How many aliases are moved: the first ones.
    moved: usize,
    /// Whether any is, or may be.
    wrote: Wrote,
}

impl Reached {
    fn failed(&self, rollbacks: &[Rollback], cause: ChangeError) -> ApplyError {
        let done = rollbacks[..self.moved].iter().map(|rollback| Completed {
            address: rollback.address.clone(),
            action: Action::Update,
        });
        let remaining = rollbacks[self.at..].iter().skip(1);
        ApplyError {
            address: rollbacks[self.at].address.clone(),
            action: Action::Update,
            cause,
            begun: self.wrote.anything(),
            finished: false,
            done: done.collect(),
            remaining: remaining.map(|rollback| rollback.address.clone()).collect(),
        }
    }
}

async fn carry_out(
    rollbacks: &[Rollback],
    cloud: &Cloud,
    identity: &CloudIdentity,
    state: &mut State,
    save: &mut impl AsyncFnMut(&mut State) -> Result<(), SaveError>,
    reached: &mut Reached,
) -> Result<(), ChangeError> {
    if rollbacks.is_empty() {
        return Ok(());
    }
    let lineage = state.lineage.clone();
    let observer = Observer {
        cloud,
        identity,
        lineage: &lineage,
    };
    for (at, rollback) in rollbacks.iter().enumerate() {
        reached.at = at;
        look(observer, &spec(state, rollback)?).await?;
    }
    for (at, rollback) in rollbacks.iter().enumerate() {
        reached.at = at;
        begin(state, rollback)?;
    }
    reached.at = 0;
    save(state).await.map_err(ChangeError::SaveState)?;
    for (at, rollback) in rollbacks.iter().enumerate() {
        reached.at = at;
        let name = spec(state, rollback)?.name;
        let moving = move_alias(cloud, &name, rollback);
        reached.wrote.watch(moving).await?;
        reached.moved += 1;
    }
    for (at, rollback) in rollbacks.iter().enumerate() {
        reached.at = at;
        end(observer, state, rollback).await?;
    }
    reached.at = 0;
    save(state).await.map_err(ChangeError::SaveState)
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
    let recorded = std::mem::replace(&mut record.outputs, present.outputs);
    in_use::keep_remembered(&recorded, &mut record.outputs);
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
    match observer.read(&spec, &[&spec], Claim::None).await? {
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

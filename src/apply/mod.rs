//! Plan → the world, one journalled change at a time. Chooses nothing.
//!
//! Each change is recorded in the state as begun before its first call and as complete after its last, so whatever
//! kills an apply, the next plan sees what was under way and looks at the object itself. Each change converges: it
//! reads the object, does what is missing, and reads it again. Doing it twice is the same as doing it once.

mod bucket;
mod error;
mod event;
mod file;
mod function;
mod import;
mod inputs;
mod log_group;
mod role;
mod rollback;
mod site;
mod smoke;
mod step;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cloud::{CloudError, CloudErrorKind, STACK_TAG, Tags, Wrote};
use crate::plan::change::{Action, Change, Observation, Precondition, Present};
use crate::plan::observe::Observer;
use crate::resource::{Address, BucketSpec, Resource, ResourceKind};
use crate::state::{Claim, RecordStatus, State};

pub use error::{ApplyError, ChangeError};
pub use event::ApplyEvent;
pub use file::Artefacts;
use file::check_file;
pub use import::{Import, ImportError, Imported, import};
pub use inputs::Inputs;
pub use rollback::{Rollback, roll_back};
use site::SiteNow;
use smoke::Owed;
pub use smoke::{SmokeCheck, SmokeFailure};
use step::{Progress, Step};

/// How often a change that takes long says so.
const STILL_RUNNING_EVERY: Duration = Duration::from_secs(10);

/// How long the change under way may go on after it was asked to stop. What is left of the time that `cli` gives a
/// verb then is for saying how far it came.
pub const STOP_GRACE: Duration = Duration::from_millis(1_000);

/// A change that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    /// Of which resource.
    pub address: Address,
    /// What was done to it.
    pub action: Action,
}

/// How far an apply without errors came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Changes that came to their end, in order.
    pub done: Vec<Completed>,
    /// Resources whose changes were not begun or not finished, because apply was asked to stop. Empty otherwise.
    pub remaining: Vec<Address>,
    /// Whether the first of those was changed in part, or may be.
    pub begun: bool,
}

/// Carries out a plan. `state` is changed and handed to `save` around each change.
///
/// # Errors
/// The first change that failed. The state holds what was done before it and what was begun.
pub async fn apply(
    inputs: Inputs<'_>,
    state: &mut State,
    save: &mut impl AsyncFnMut(&mut State) -> Result<(), SaveError>,
    on_event: &(dyn Fn(ApplyEvent) + Send + Sync),
) -> Result<Applied, ApplyError> {
    let changes: Vec<&Change> = inputs
        .plan
        .changes
        .iter()
        .filter(|change| is_work(change, state))
        .collect();
    let mut done = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let remaining = |from: usize| {
            let rest = changes[from..].iter();
            rest.map(|change| change.address.clone()).collect()
        };
        if inputs.stop.is_cancelled() {
            return Ok(Applied {
                done,
                remaining: remaining(index),
                begun: false,
            });
        }
        let wrote = Wrote::default();
        let mut step = Step {
            inputs,
            change,
            state: &mut *state,
            save: &mut *save,
            on_event,
            wrote: wrote.clone(),
            finished: false,
        };
        let performed = Box::pin(step.perform()).await;
        let finished = step.finished;
        match performed {
            Ok(Progress::Finished) => done.push(Completed {
                address: change.address.clone(),
                action: change.action,
            }),
            Ok(Progress::Stopped) => {
                return Ok(Applied {
                    done,
                    remaining: remaining(index),
                    begun: wrote.anything(),
                });
            }
            Err(cause) => {
                return Err(ApplyError {
                    address: change.address.clone(),
                    action: change.action,
                    cause,
                    begun: wrote.anything(),
                    finished,
                    done,
                    remaining: remaining(index + 1),
                });
            }
        }
    }
    Ok(Applied {
        done,
        remaining: Vec::new(),
        begun: false,
    })
}

/// Whatever the state's store says when it cannot save.
pub type SaveError = Box<dyn std::error::Error + Send + Sync>;

/// What AWS assigned; see [`Record::outputs`].
type Outputs = BTreeMap<String, String>;

/// Nothing to do is no work, unless an earlier run left the record open.
fn is_work(change: &Change, state: &State) -> bool {
    change.action != Action::NoOp
        || state
            .records
            .get(&change.address)
            .is_some_and(|record| record.status == RecordStatus::Pending)
}

/// Does the work of one change. What each kind of resource takes is in a file of its own.
struct Executor<'a> {
    inputs: Inputs<'a>,
    change: &'a Change,
    /// As it was when the change began.
    state: State,
    /// Hears of what has to be recorded before it is begun.
    owing: mpsc::Sender<Owed>,
    on_event: &'a (dyn Fn(ApplyEvent) + Send + Sync),
    undeletable: function::Undeletable,
}

impl Executor<'_> {
    /// Tells of the beginning, the going on and the end of `work`. `None` if it was stopped in the middle.
    async fn run<T>(
        &self,
        action: Action,
        work: impl Future<Output = Result<T, ChangeError>>,
    ) -> Result<Option<T>, ChangeError> {
        let address = self.change.address.clone();
        (self.on_event)(ApplyEvent::Started {
            address: address.clone(),
            action,
        });
        let start = Instant::now();
        let mut ticks = tokio::time::interval_at(start + STILL_RUNNING_EVERY, STILL_RUNNING_EVERY);
        let stopped = async {
            self.inputs.stop.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::pin!(work, stopped);
        loop {
            let address = address.clone();
            tokio::select! {
                biased;
                result = &mut work => {
                    // A check that was called off says nothing about the version.
                    if matches!(result, Err(ChangeError::Smoke { .. })) && self.inputs.stop.is_cancelled() {
                        return Ok(None);
                    }
                    let elapsed = start.elapsed();
                    (self.on_event)(match result {
                        Ok(_) => ApplyEvent::Done { address, action, elapsed },
                        Err(_) => ApplyEvent::Failed { address, action, elapsed },
                    });
                    return result.map(Some);
                }
                () = &mut stopped => return Ok(None),
                _ = ticks.tick() => (self.on_event)(ApplyEvent::StillRunning {
                    address,
                    action,
                    elapsed: start.elapsed(),
                }),
            }
        }
    }

    /// Makes the object what `after` says, whatever it is now, and returns what AWS assigned.
    async fn converge(
        &self,
        action: Action,
        after: &Resource,
        claim: Claim,
    ) -> Result<Outputs, ChangeError> {
        match self.look(after, claim).await? {
            Some(now) => {
                if action == Action::Update {
                    self.require_unmoved(&now)?;
                }
                Box::pin(self.update(&now, after)).await?;
            }
            None => match Box::pin(self.create(after)).await {
                Ok(()) => {}
                // Its creation was confirmed to nobody: the answer got lost on the way.
                Err(ChangeError::Cloud(error)) if error.kind == CloudErrorKind::AlreadyExists => {
                    let now = self.look(after, Claim::Begun).await?;
                    let now = now.ok_or(ChangeError::Cloud(error))?;
                    Box::pin(self.update(&now, after)).await?;
                }
                Err(error) => return Err(error),
            },
        }
        let written = self.look(after, Claim::Begun).await?;
        let written = written.ok_or(ChangeError::Vanished)?;
        Ok(self.with_undeletable(written.outputs))
    }

    /// Reads the object that `spec` names; what is not ours is refused.
    async fn look(&self, spec: &Resource, claim: Claim) -> Result<Option<Present>, ChangeError> {
        let observer = Observer {
            cloud: self.inputs.cloud,
            identity: &self.inputs.plan.identity,
            lineage: &self.state.lineage,
        };
        // The same specs in the same order as when the plan was made, so that values are told the same way.
        let known: Vec<&Resource> = [&self.change.after, &self.change.before]
            .into_iter()
            .flatten()
            .collect();
        match Box::pin(observer.read(spec, &known, claim)).await? {
            Observation::Absent => Ok(None),
            Observation::Present(present) => Ok(Some(*present)),
            Observation::Foreign { id, owner } => Err(ChangeError::Foreign { id, owner }),
        }
    }

    /// Requires that the object is the one that the plan was made on. What is written next names it as it is here.
    fn require_unmoved(&self, now: &Present) -> Result<(), ChangeError> {
        match &self.change.revision {
            Some(planned) if *planned != now.revision => Err(ChangeError::Moved),
            _ => Ok(()),
        }
    }

    async fn create(&self, after: &Resource) -> Result<(), ChangeError> {
        match after {
            Resource::LogGroup(spec) => self.create_log_group(spec).await,
            Resource::Role(spec) => self.create_role(spec).await,
            Resource::Bucket(spec) => self.create_bucket(spec).await,
            Resource::Function(spec) => self.create_function(spec).await,
            Resource::Site(spec) => self.upload_site(None, spec).await,
        }
    }

    async fn update(&self, now: &Present, after: &Resource) -> Result<(), ChangeError> {
        match (&now.spec, after) {
            (Resource::LogGroup(now), Resource::LogGroup(after)) => {
                self.update_log_group(now, after).await
            }
            (Resource::Role(now), Resource::Role(after)) => self.update_role(now, after).await,
            (Resource::Bucket(now), Resource::Bucket(after)) => {
                self.update_bucket(now, after).await
            }
            (Resource::Function(found), Resource::Function(after)) => match &now.precondition {
                Precondition::Function { revision_id, alias } => {
                    self.update_function(found, revision_id, alias.as_ref(), after)
                        .await
                }
                _ => Err(ChangeError::Moved),
            },
            (Resource::Site(spec), Resource::Site(after)) => match &now.precondition {
                Precondition::Site(tags) => {
                    self.upload_site(Some(SiteNow { spec, tags }), after).await
                }
                _ => Err(ChangeError::Moved),
            },
            // An object is read by its spec, so the kinds are the same.
            _ => Err(ChangeError::Moved),
        }
    }

    async fn delete(&self, before: &Resource, claim: Claim) -> Result<(), ChangeError> {
        // Somebody may have put something else there since the plan was made.
        let Some(now) = self.look(before, claim).await? else {
            return Ok(());
        };
        self.require_unmoved(&now)?;
        let cloud = self.inputs.cloud;
        match before {
            Resource::LogGroup(spec) => Ok(cloud.delete_log_group(&spec.name).await?),
            Resource::Role(spec) => Ok(cloud.delete_role(&spec.name).await?),
            Resource::Bucket(spec) => self.delete_bucket(spec).await,
            Resource::Function(spec) => Ok(cloud.delete_function(&spec.name).await?),
            Resource::Site(spec) => self.delete_site(spec).await,
        }
    }

    /// What everything of ours carries.
    fn tags(&self) -> Tags {
        Tags::from([(STACK_TAG.to_owned(), self.state.lineage.to_string())])
    }

    /// The bucket as it is by now: buckets come before functions and sites.
    fn bucket(&self) -> Option<&BucketSpec> {
        let mut records = self.state.records.iter();
        records.find_map(|(address, record)| match &record.applied {
            Resource::Bucket(spec) if address.kind == ResourceKind::Bucket => Some(spec),
            _ => None,
        })
    }

    fn wait_for(&self, what: impl Into<String>) {
        (self.on_event)(ApplyEvent::Waiting {
            address: self.change.address.clone(),
            what: what.into(),
        });
    }
}

/// Whether a conditional write met another object than it named. That may be the doing of somebody else, or of its own
/// first try, whose answer got lost on the way.
fn overtaken(error: &CloudError) -> bool {
    matches!(
        error.kind,
        CloudErrorKind::PreconditionFailed | CloudErrorKind::Conflict | CloudErrorKind::NotFound
    )
}

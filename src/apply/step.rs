//! One change, with the records that are made of it: begun before its first call, done after its last.

use crate::cloud::Wrote;
use crate::plan::change::{Action, Change};
use crate::resource::Resource;
use crate::state::{ARN_OUTPUT, Claim, RUNTIME_OUTPUT, Record, RecordStatus, State};

use super::event::ApplyEvent;
use super::inputs::Inputs;
use super::{ChangeError, Executor, Outputs, SaveError, function, smoke};

/// How far a change came.
pub(super) enum Progress {
    /// To its end, and recorded.
    Finished,
    /// Called off in the middle.
    Stopped,
}

/// One change with all it needs.
pub(super) struct Step<'a, S> {
    /// With what the plan is carried out.
    pub(super) inputs: Inputs<'a>,
    /// What to do.
    pub(super) change: &'a Change,
    /// What is recorded.
    pub(super) state: &'a mut State,
    /// Saves it.
    pub(super) save: &'a mut S,
    /// Told how it goes.
    pub(super) on_event: &'a (dyn Fn(ApplyEvent) + Send + Sync),
    /// Whether its object was changed. What is written to save the state does not count.
    pub(super) wrote: Wrote,
    /// Whether the last call is made: what fails then is the record.
    pub(super) finished: bool,
}

impl<S: AsyncFnMut(&mut State) -> Result<(), SaveError>> Step<'_, S> {
    /// Carries the change out.
    pub(super) async fn perform(&mut self) -> Result<Progress, ChangeError> {
        let change = self.change;
        self.state.deployed_to = Some(self.inputs.plan.identity.clone());
        match (change.action, &change.before, &change.after) {
            (Action::Create, _, Some(after)) => self.write(Action::Create, after).await,
            (Action::Update | Action::Adopt, _, Some(after)) if change.touches_cloud() => {
                self.write(Action::Update, after).await
            }
            (Action::Replace, Some(before), Some(after)) => {
                match self.delete(before, false).await? {
                    Progress::Stopped => Ok(Progress::Stopped),
                    Progress::Finished => self.write(Action::Create, after).await,
                }
            }
            (Action::Delete, Some(before), _) => self.delete(before, true).await,
            (Action::NoOp | Action::Adopt | Action::Update, _, Some(after)) => {
                self.record(after, change.outputs.clone(), RecordStatus::Complete)
                    .await
            }
            (Action::Forget, ..) => {
                self.state.records.remove(&change.address);
                self.save_state().await
            }
            // A change whose specs do not fit its action can only come from a damaged plan file.
            (
                Action::NoOp
                | Action::Create
                | Action::Update
                | Action::Replace
                | Action::Delete
                | Action::Adopt,
                ..,
            ) => Err(ChangeError::Moved),
        }
    }

    /// Creates or updates, whichever it takes, until the object is as `after` says.
    async fn write(&mut self, action: Action, after: &Resource) -> Result<Progress, ChangeError> {
        let address = &self.change.address;
        let before = self.state.records.get(address).cloned();
        let claim = Claim::of(before.as_ref());
        if let (Action::Create, Some(gone)) = (action, self.state.records.get_mut(address)) {
            // What was released, and seen, was of an object that is no more.
            gone.releases.clear();
            gone.outputs.remove(ARN_OUTPUT);
        }
        let earlier = self.state.records.get(address);
        let mut outputs = earlier.map_or_else(Outputs::new, |record| record.outputs.clone());
        // Whatever is to be: until then it is this that renders.
        if let Some(runtime) = self.change.outputs.get(RUNTIME_OUTPUT) {
            outputs.insert(RUNTIME_OUTPUT.to_owned(), runtime.clone());
        }
        if let (Resource::Function(spec), Some(smoke)) = (after, self.inputs.smoke)
            && smoke.always
            && !spec.invokes_latest()
        {
            smoke::owe(&mut outputs);
        }
        self.record(after, outputs, RecordStatus::Pending).await?;
        let executor = self.executor();
        // On the heap: a call of the SDK is a large future, and these nest.
        let work = Box::pin(self.wrote.watch(executor.converge(action, after, claim)));
        let written = executor.run(action, work).await;
        if let Err(ChangeError::Smoke {
            version,
            of_version: true,
            ..
        }) = &written
            && let Some(record) = self.state.records.get_mut(address)
        {
            smoke::remember_failure(&mut record.outputs, version);
            // That it did not pass is what has to be told, also where it cannot be recorded.
            drop(self.save_state().await);
        }
        if matches!(written, Err(ChangeError::Foreign { .. })) && !self.wrote.anything() {
            // Somebody was first, and nothing was begun: what is there must not pass for it.
            match before {
                Some(before) => drop(self.state.records.insert(address.clone(), before)),
                None => drop(self.state.records.remove(address)),
            }
            drop(self.save_state().await);
        }
        match written? {
            Some(outputs) => {
                self.finished = true;
                self.record(after, outputs, RecordStatus::Complete).await
            }
            None => Ok(Progress::Stopped),
        }
    }

    async fn delete(&mut self, before: &Resource, last: bool) -> Result<Progress, ChangeError> {
        let address = self.change.address.clone();
        let earlier = self.state.records.get(&address);
        let claim = earlier.map_or(Claim::Seen, |record| Claim::of(Some(record)));
        let outputs = self.change.outputs.clone();
        self.record(before, outputs, RecordStatus::Pending).await?;
        let executor = self.executor();
        let work = Box::pin(self.wrote.watch(executor.delete(before, claim)));
        let deleted = executor.run(Action::Delete, work).await?;
        match deleted {
            Some(()) if last => {
                self.finished = true;
                self.state.records.remove(&address);
                self.save_state().await
            }
            Some(()) => Ok(Progress::Finished),
            None => Ok(Progress::Stopped),
        }
    }

    async fn record(
        &mut self,
        applied: &Resource,
        outputs: Outputs,
        status: RecordStatus,
    ) -> Result<Progress, ChangeError> {
        let address = &self.change.address;
        let earlier = self.state.records.get(address);
        let protect = self.change.protect;
        let mut record = Record {
            applied: applied.clone(),
            outputs,
            status,
            // Set by an apply that began, lifted by one that came to its end.
            protect: protect.wanted || (protect.recorded && status == RecordStatus::Pending),
            releases: earlier.map_or_else(Vec::new, |earlier| earlier.releases.clone()),
        };
        if let (RecordStatus::Complete, Resource::Function(_), Some(version)) =
            (status, applied, record.version())
        {
            record.release(version);
        }
        self.state.records.insert(address.clone(), record);
        self.save_state().await
    }

    async fn save_state(&mut self) -> Result<Progress, ChangeError> {
        let saved = (self.save)(self.state).await;
        saved.map_err(ChangeError::SaveState)?;
        Ok(Progress::Finished)
    }

    fn executor(&self) -> Executor<'_> {
        Executor {
            inputs: self.inputs,
            change: self.change,
            state: self.state,
            on_event: self.on_event,
            undeletable: function::Undeletable::new(),
        }
    }
}

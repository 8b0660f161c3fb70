//! One change, with the records that are made of it: begun before its first call, done after its last.

use tokio::sync::mpsc;

use crate::cloud::Wrote;
use crate::plan::change::{Action, Change};
use crate::resource::Resource;
use crate::state::{ARN_OUTPUT, Claim, RUNTIME_OUTPUT, Record, RecordStatus, State};

use super::event::ApplyEvent;
use super::inputs::Inputs;
use super::smoke::Owed;
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

impl<'a, S: AsyncFnMut(&mut State) -> Result<(), SaveError>> Step<'a, S> {
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
                let mut outputs = change.outputs.clone();
                if matches!(after, Resource::Function(spec) if spec.published) {
                    smoke::nothing_made(&mut outputs);
                }
                self.record(after, outputs, RecordStatus::Complete).await
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
        let change = self.change;
        let address = &change.address;
        let before = self.state.records.get(address).cloned();
        let claim = Claim::of(before.as_ref());
        if let (Action::Create, Some(gone)) = (action, self.state.records.get_mut(address)) {
            // What was released, and seen, was of an object that is no more.
            gone.releases.clear();
            gone.outputs.remove(ARN_OUTPUT);
            smoke::owe_first(&mut gone.outputs);
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
            smoke::owe_next(&mut outputs);
        }
        self.record(after, outputs, RecordStatus::Pending).await?;
        let (executor, owing) = self.executor();
        // On the heap: a call of the SDK is a large future, and these nest.
        let wrote = self.wrote.clone();
        let work = Box::pin(wrote.watch(executor.converge(action, after, claim)));
        let written = self.recording(owing, executor.run(action, work)).await;
        if let Err(error) = &written
            && !self.wrote.anything()
        {
            let is_foreign = matches!(error, ChangeError::Foreign { .. });
            self.nothing_begun(before, is_foreign).await;
        }
        match written? {
            Some(outputs) => {
                self.finished = true;
                self.record(after, outputs, RecordStatus::Complete).await
            }
            None => Ok(Progress::Stopped),
        }
    }

    /// Does `work`, and records meanwhile which version has to show that it works.
    async fn recording<T>(
        &mut self,
        mut owing: mpsc::Receiver<Owed>,
        work: impl Future<Output = Result<T, ChangeError>>,
    ) -> Result<T, ChangeError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(owed) = owing.recv() => {
                    if let Some(record) = self.state.records.get_mut(&self.change.address) {
                        owed.note(&mut record.outputs);
                    }
                    owed.answer(self.save_state().await.map(drop));
                }
                result = &mut work => return result,
            }
        }
    }

    /// Takes back what was recorded of a change that has changed nothing. That it cannot be saved is not told: why nothing was changed is.
    async fn nothing_begun(&mut self, before: Option<Record>, is_foreign: bool) {
        let address = &self.change.address;
        let records = &mut self.state.records;
        match (is_foreign, before, records.get_mut(address)) {
            // Somebody was first: what is there must not pass for it.
            (true, Some(before), _) => drop(records.insert(address.clone(), before)),
            (true, None, _) => drop(records.remove(address)),
            (false, before, Some(record)) => {
                let before = before.map(|before| before.outputs).unwrap_or_default();
                if !smoke::owe_as(&before, &mut record.outputs) {
                    return;
                }
            }
            (false, _, None) => return,
        }
        drop(self.save_state().await);
    }

    async fn delete(&mut self, before: &Resource, last: bool) -> Result<Progress, ChangeError> {
        let address = self.change.address.clone();
        let earlier = self.state.records.get(&address);
        let claim = earlier.map_or(Claim::Seen, |record| Claim::of(Some(record)));
        let outputs = self.change.outputs.clone();
        self.record(before, outputs, RecordStatus::Pending).await?;
        let (executor, _) = self.executor();
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

    /// What does the work, and where it tells what has to be recorded meanwhile.
    fn executor(&self) -> (Executor<'a>, mpsc::Receiver<Owed>) {
        let (owing, owed) = mpsc::channel(1);
        let executor = Executor {
            inputs: self.inputs,
            change: self.change,
            state: self.state.clone(),
            owing,
            on_event: self.on_event,
            undeletable: function::Undeletable::new(),
        };
        (executor, owed)
    }
}

//! What a new version has to pass before `live` moves to it. What that is, the caller says.

use std::fmt;

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::{ChangeError, Executor, Outputs};
use crate::names::FunctionName;
use crate::plan::change::AliasRevision;
use crate::plan::in_use::{FAILED_SMOKE_OUTPUT, NEXT_VERSION};
use crate::resource::FunctionSpec;

/// Why a version did not pass: whatever the check says.
pub type SmokeFailure = Box<dyn std::error::Error + Send + Sync>;

/// Has a version of a function show that it works. It may be asked again about the same one.
#[derive(Clone, Copy)]
pub struct SmokeCheck<'a> {
    /// Whether each version has to, and not only what follows one that did not.
    pub always: bool,
    /// Does it.
    pub check: &'a Check,
}

type Check =
    dyn Fn(FunctionName, String) -> BoxFuture<'static, Result<(), SmokeFailure>> + Send + Sync;

impl fmt::Debug for SmokeCheck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmokeCheck")
            .field("always", &self.always)
            .finish_non_exhaustive()
    }
}

/// A version that was made and has to show that it works. The check begins once this is recorded: a run that is killed or called off before the
/// version has passed leaves it behind.
#[derive(Debug)]
pub(super) struct Owed {
    version: String,
    recorded: oneshot::Sender<Result<(), ChangeError>>,
}

impl Owed {
    /// Notes it in the outputs of its function.
    pub(super) fn note(&self, outputs: &mut Outputs) {
        outputs.insert(FAILED_SMOKE_OUTPUT.to_owned(), self.version.clone());
    }

    /// Lets the check begin, or tells why it must not.
    pub(super) fn answer(self, recorded: Result<(), ChangeError>) {
        // Who does not wait for it any more has come to another end.
        drop(self.recorded.send(recorded));
    }
}

/// Notes in a function's outputs that the version which is made next has to pass, as long as it has no number.
pub(super) fn owe_next(outputs: &mut Outputs) {
    let owed = outputs.entry(FAILED_SMOKE_OUTPUT.to_owned());
    owed.or_insert_with(|| NEXT_VERSION.to_owned());
}

/// Owes again what was owed as `before` says. Whether that is something else.
pub(super) fn owe_as(before: &Outputs, outputs: &mut Outputs) -> bool {
    let before = before.get(FAILED_SMOKE_OUTPUT).cloned();
    let now = match before.clone() {
        Some(owed) => outputs.insert(FAILED_SMOKE_OUTPUT.to_owned(), owed),
        None => outputs.remove(FAILED_SMOKE_OUTPUT),
    };
    before != now
}

/// The function is as it is live: what was asked for has begun nothing that is still to be shown.
pub(super) fn nothing_made(outputs: &mut Outputs) {
    if outputs
        .get(FAILED_SMOKE_OUTPUT)
        .is_some_and(|owed| owed == NEXT_VERSION)
    {
        outputs.remove(FAILED_SMOKE_OUTPUT);
    }
}

/// Another function has versions of its own: what was owed of one of the old is owed of its first.
pub(super) fn owe_first(outputs: &mut Outputs) {
    if let Some(owed) = outputs.get_mut(FAILED_SMOKE_OUTPUT) {
        *owed = NEXT_VERSION.to_owned();
    }
}

impl Executor<'_> {
    /// Requires that `version`, which is not live, passes the check, if it has to. `live` is what is. Remotion's own function cannot: it
    /// does not know the check's page.
    pub(super) async fn require_smoke(
        &self,
        spec: &FunctionSpec,
        version: &str,
        live: Option<&AliasRevision>,
    ) -> Result<(), ChangeError> {
        let name = &spec.name;
        let Some(SmokeCheck { always, check }) = self.inputs.smoke else {
            return Ok(());
        };
        let record = self.state.records.get(&self.change.address);
        let owed = record.is_some_and(|record| record.outputs.contains_key(FAILED_SMOKE_OUTPUT));
        if (!always && !owed) || spec.invokes_latest() {
            return Ok(());
        }
        let (recorded, noted) = oneshot::channel();
        let version = version.to_owned();
        let owed = Owed {
            version: version.clone(),
            recorded,
        };
        // Nobody listens only where the whole run is given up, and then nothing may begin any more.
        self.owing.send(owed).await.or(Err(ChangeError::Moved))?;
        noted.await.or(Err(ChangeError::Moved))??;
        self.wait_for(format!("version {version} to pass its smoke render"));
        let checked = check(name.clone(), version.clone()).await;
        checked.map_err(|source| ChangeError::Smoke {
            function: name.clone(),
            version,
            live: live.map(|alias| alias.version.clone()),
            source,
        })
    }
}

//! What a new version has to pass before `live` moves to it. What that is, the caller says.

use std::fmt;

use futures::future::BoxFuture;

use super::{ChangeError, Executor, Outputs};
use crate::names::FunctionName;
use crate::plan::change::AliasRevision;
use crate::plan::in_use::FAILED_SMOKE_OUTPUT;
use crate::resource::FunctionSpec;

/// Why a version did not pass.
#[derive(Debug)]
pub struct SmokeFailure {
    /// Whatever the check says.
    pub source: Box<dyn std::error::Error + Send + Sync>,
    /// Whether it is the version's own doing. A refused or interrupted invocation says nothing about it.
    pub of_version: bool,
}

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

/// Notes in a function's outputs that the version which is made next has not passed. A run that is killed or called off before it has shown
/// that leaves this behind.
pub(super) fn owe(outputs: &mut Outputs) {
    let live = outputs.get("version");
    let live = live.and_then(|version| version.parse::<u64>().ok());
    let next = live.unwrap_or(0) + 1;
    let owed = outputs.entry(FAILED_SMOKE_OUTPUT.to_owned());
    owed.or_insert_with(|| next.to_string());
}

/// Remembers in a function's outputs that a version did not pass.
pub(super) fn remember_failure(outputs: &mut Outputs, version: &str) {
    outputs.insert(FAILED_SMOKE_OUTPUT.to_owned(), version.to_owned());
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
        self.wait_for(format!("version {version} to pass its smoke render"));
        let checked = check(name.clone(), version.to_owned()).await;
        checked.map_err(|SmokeFailure { source, of_version }| ChangeError::Smoke {
            of_version,
            function: name.clone(),
            version: version.to_owned(),
            live: live.map(|alias| alias.version.clone()),
            source,
        })
    }
}

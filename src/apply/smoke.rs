//! What a new version has to pass before `live` moves to it. What that is, the caller says.

use std::fmt;

use futures::future::BoxFuture;

use super::{ChangeError, Executor};
use crate::names::FunctionName;
use crate::plan::change::AliasRevision;

/// Whatever the check says when a version does not pass.
pub type SmokeFailure = Box<dyn std::error::Error + Send + Sync>;

/// Has a version of a function show that it works. It may be asked again about the same one.
#[derive(Clone, Copy)]
pub struct SmokeCheck<'a>(pub &'a Check);

type Check =
    dyn Fn(FunctionName, String) -> BoxFuture<'static, Result<(), SmokeFailure>> + Send + Sync;

impl fmt::Debug for SmokeCheck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SmokeCheck").finish_non_exhaustive()
    }
}

impl Executor<'_> {
    /// Requires that `version`, which is not live, passes the check, if there is one. `live` is what is.
    pub(super) async fn require_smoke(
        &self,
        name: &FunctionName,
        version: &str,
        live: Option<&AliasRevision>,
    ) -> Result<(), ChangeError> {
        let Some(SmokeCheck(check)) = self.inputs.smoke else {
            return Ok(());
        };
        self.wait_for(format!("version {version} to pass its smoke render"));
        let checked = check(name.clone(), version.to_owned()).await;
        checked.map_err(|source| ChangeError::Smoke {
            function: name.clone(),
            version: version.to_owned(),
            live: live.map(|alias| alias.version.clone()),
            source,
        })
    }
}

//! What an apply is given.

use std::collections::BTreeMap;
use std::fmt;

use tokio_util::sync::CancellationToken;

use super::{Artefacts, SmokeCheck};
use crate::cloud::Cloud;
use crate::cloud::wait::Patience;
use crate::plan::change::Plan;

/// Everything an apply needs but the state.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// What the plan was made of.
    pub artefacts: &'a Artefacts,
    /// Values of secret environment variables of the function, by the variable's name. Never recorded or shown.
    pub secrets: &'a BTreeMap<String, String>,
    /// Whether a bucket may be deleted together with objects that are not rmx's own (`force_destroy`).
    pub delete_bucket_content: bool,
    /// The largest zip that goes within a request; a larger one goes through the bucket (`CodeSizeZipped` of the account).
    pub inline_code_bytes_max: u64,
    /// How long a role that was just made is waited for.
    pub role_patience: Patience,
    /// What a new version of a function has to pass before `live` moves to it.
    pub smoke: Option<SmokeCheck<'a>>,
    /// Where to do it.
    pub cloud: &'a Cloud,
    /// Stops between changes, or in a change that takes longer than a moment. What was begun is recorded.
    pub stop: &'a CancellationToken,
}

impl fmt::Debug for Inputs<'_> {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs")
            .field("plan", self.plan)
            .finish_non_exhaustive()
    }
}

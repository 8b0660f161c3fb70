//! What apply tells while it works.

use std::time::Duration;

use crate::plan::change::Action;
use crate::resource::Address;

/// Something happened. A replacement shows as a delete and a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyEvent {
    /// A change begins.
    Started {
        /// Of which resource.
        address: Address,
        /// What is done to it.
        action: Action,
    },
    /// It is not over yet. Comes every ten seconds.
    StillRunning {
        /// Of which resource.
        address: Address,
        /// What is done to it.
        action: Action,
        /// Since it began.
        elapsed: Duration,
    },
    /// It cannot go on before something else has happened.
    Waiting {
        /// Of which resource.
        address: Address,
        /// For what, as in "waiting for ...".
        what: String,
    },
    /// An old version of a function that was to go stays.
    Kept {
        /// Of which function.
        address: Address,
        /// The version.
        version: u64,
        /// Why, as a clause.
        reason: String,
    },
    /// It came to its end.
    Done {
        /// Of which resource.
        address: Address,
        /// What was done to it.
        action: Action,
        /// Since it began.
        elapsed: Duration,
    },
    /// It failed. The cause is in the error that apply returns.
    Failed {
        /// Of which resource.
        address: Address,
        /// What was to be done to it.
        action: Action,
        /// Since it began.
        elapsed: Duration,
    },
}

//! What was recorded after the last apply: lineage, serial, one record a resource.
//!
//! `file.rs` turns it into bytes and back. `folder.rs` and `s3.rs` are the two places where these are kept, `lock.rs`
//! and `lease.rs` what lets one process at a time change them there, `hold.rs` the one or the other, held. `store.rs` and
//! `locked.rs` are what everybody else sees. `docs/STATE.md` describes the format.

mod error;
mod file;
mod folder;
mod hold;
mod kept;
mod lease;
mod lock;
mod locked;
mod migrate;
mod release;
mod s3;
mod store;
mod transfer;

pub use error::{Backup, StateError};
pub use lease::LeaseTerms;
pub use lock::Holder;
pub use locked::LockedStore;
pub use release::Release;
pub use s3::S3Location;
pub use store::{StateStore, name_of_stage};
pub use transfer::Migration;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{AccountId, Lineage, Region};
use crate::resource::{Address, Resource};

/// The recorded state of one deployment (one project, one stage).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Identity of the deployment; everything it owns carries it as the tag `rmx:stack`.
    pub lineage: Lineage,
    /// Raised by one with every save.
    pub serial: u64,
    /// Where it was deployed; `None` before the first apply.
    pub deployed_to: Option<CloudIdentity>,
    /// What exists, by address.
    pub records: BTreeMap<Address, Record>,
}

impl State {
    /// An empty state with a lineage of its own, which nothing in any cloud carries yet.
    pub fn fresh() -> Self {
        let lineage = uuid::Uuid::new_v4().to_string();
        Self {
            lineage: lineage
                .parse()
                .expect("a UUID in its usual form is a lineage"),
            serial: 0,
            deployed_to: None,
            records: BTreeMap::new(),
        }
    }
}

/// An account and a region of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudIdentity {
    /// Account.
    pub account: AccountId,
    /// Region.
    pub region: Region,
}

/// One recorded resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What rmx last wrote.
    pub applied: Resource,
    /// What AWS assigned, for example `arn`, and for functions `version`, to which `live` points, and `runtime`, which that one has.
    pub outputs: BTreeMap<String, String>,
    /// Whether the last change of it came to its end.
    pub status: RecordStatus,
    /// A plan that would delete or replace it is refused.
    pub protect: bool,
    /// Of functions: what was released, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<Release>,
}

/// How far the last change of a resource came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordStatus {
    /// A change was begun and its outcome is not recorded: the next plan looks at the object itself.
    Pending,
    /// The last change came to its end.
    Complete,
}

/// What is recorded of an object, where the object itself cannot say whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nothing.
    None,
    /// It was there, and was marked as ours.
    Seen,
    /// Its creation was begun, and nobody saw it end: there is no ARN yet.
    Begun,
}

impl Claim {
    /// What `record` says.
    pub fn of(record: Option<&Record>) -> Self {
        match record {
            None => Self::None,
            Some(record) if record.outputs.contains_key(ARN_OUTPUT) => Self::Seen,
            Some(_) => Self::Begun,
        }
    }
}

/// The output that holds an object's ARN. Sites have none.
pub const ARN_OUTPUT: &str = "arn";

/// The output of a function that holds the runtime of the version that is live.
pub const RUNTIME_OUTPUT: &str = "runtime";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{LogGroupSpec, ResourceKind};

    /// A state with something in it.
    pub(super) fn example() -> State {
        let record = Record {
            applied: Resource::LogGroup(LogGroupSpec {
                name: "/aws/lambda/rmx-hello".parse().unwrap(),
                retention_days: Some(14),
            }),
            outputs: BTreeMap::from([("arn".to_owned(), "arn:aws:logs:x".to_owned())]),
            status: RecordStatus::Complete,
            protect: false,
            releases: Vec::new(),
        };
        State {
            lineage: "6f0f2b0e-0000-4000-8000-000000000000".parse().unwrap(),
            serial: 7,
            deployed_to: Some(CloudIdentity {
                account: "000000000000".parse().unwrap(),
                region: "us-east-1".parse().unwrap(),
            }),
            records: BTreeMap::from([(Address::new(ResourceKind::LogGroup, "main"), record)]),
        }
    }
}

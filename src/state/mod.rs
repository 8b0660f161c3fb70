//! What was recorded after the last apply: lineage, serial, one record a resource.

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
    /// What AWS assigned, for example `arn`, and for functions `version` and `alias_version`.
    pub outputs: BTreeMap<String, String>,
    /// Whether the last change of it came to its end.
    pub status: RecordStatus,
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

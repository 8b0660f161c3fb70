//! What goes for ever with a resource that a plan deletes or replaces: the objects of a bucket, the lines of a log group.
//!
//! It is looked up for those plans only, and it is no part of the plan itself: a log line more makes no other plan.

use serde::{Deserialize, Serialize};

use crate::names::BucketName;
use crate::resource::{Address, Resource, site};
use crate::state::State;

/// What is lost with one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The resource.
    pub address: Address,
    /// Of what.
    pub kind: LossKind,
    /// How many were counted.
    pub count: u64,
    /// Whether that is all of them; counting ends at some point.
    pub complete: bool,
    /// Size of what was counted. CloudWatch tells that of a log group hours late.
    pub size_bytes: u64,
    /// One of the names.
    pub example: Option<String>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Objects that rmx did not put into the bucket to do its own work: renders, and what others put there.
    Objects,
    /// Log streams.
    LogStreams,
}

/// Prefixes of what rmx put into the bucket and can put there again: function packages, manifests, and the sites of this
/// deployment. Renders are the user's.
pub fn own_prefixes(state: &State, bucket: &BucketName) -> Vec<String> {
    let sites = state
        .records
        .values()
        .filter_map(|record| match &record.applied {
            Resource::Site(spec) if spec.bucket == *bucket => Some(site::prefix(&spec.name)),
            _ => None,
        });
    sites.chain([site::OWN_PREFIX.to_owned()]).collect()
}
